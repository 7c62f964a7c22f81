//! The commands that reckon with a string as a number.

use super::keyspace::{Call, TextValue};
use super::reply::{Answer, Response};
use super::words::{Failure, NOT_FLOAT, OVERFLOW, decimal_sum, float, integer};

fn add(call: &mut Call<'_>, by: i64) -> Answer {
    let key = &call.args[1];
    let old = call.db.read::<TextValue>(key)?.map_or(Ok(0), |text| integer(text))?;
    let new = old.checked_add(by).ok_or(OVERFLOW)?;
    *call.db.create::<TextValue>(key)? = new.to_string().into_bytes();
    call.db.changed(key);
    Ok(Response::Integer(new))
}

pub(super) fn incr(call: &mut Call<'_>) -> Answer {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_>) -> Answer {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call<'_>) -> Answer {
    let by = integer(&call.args[2])?;
    add(call, by)
}

pub(super) fn decrby(call: &mut Call<'_>) -> Answer {
    let by = integer(&call.args[2])?;
    let by = by.checked_neg().ok_or_else(|| Failure::from("ERR decrement would overflow"))?;
    add(call, by)
}

pub(super) fn incrbyfloat(call: &mut Call<'_>) -> Answer {
    let (key, by) = (&call.args[1], &call.args[2]);
    let old = call.db.read::<TextValue>(key)?.cloned().unwrap_or_else(|| b"0".to_vec());
    float(&old)?;
    float(by)?;
    let new = decimal_sum(&old, by).ok_or("ERR increment would produce NaN or Infinity")?;
    float(new.as_bytes()).map_err(|_| Failure::from(NOT_FLOAT))?;
    *call.db.create::<TextValue>(key)? = new.clone().into_bytes();
    call.db.changed(key);
    Ok(Response::text(new))
}
