//! A configuration from any format of serde.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::RedisManagerConfig;
use crate::setting_value::SettingValue;

/// A table whose keys are the names of settings, or tables of them.
impl<'de> Deserialize<'de> for RedisManagerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut config = Self::default();
        let ConfigTree::Table(entries) = ConfigTree::deserialize(deserializer)? else {
            return Err(D::Error::custom("a configuration is a table of settings"));
        };
        config.set_all("", entries).map_err(D::Error::custom)?;
        Ok(config)
    }
}

impl RedisManagerConfig {
    fn set_all(&mut self, prefix: &str, entries: Vec<(String, ConfigTree)>) -> Result<(), redis_manager_core::ConfigError> {
        for (key, value) in entries {
            let name = format!("{prefix}{key}");
            match value {
                ConfigTree::Leaf(value) => self.set_value(&name, value, None)?,
                ConfigTree::Table(entries) => self.set_all(&format!("{name}."), entries)?,
            }
        }
        Ok(())
    }
}

enum ConfigTree {
    Leaf(SettingValue),
    Table(Vec<(String, ConfigTree)>),
}

impl<'de> Deserialize<'de> for ConfigTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

fn leaf<E>(value: impl ToString) -> Result<ConfigTree, E> {
    Ok(ConfigTree::Leaf(SettingValue::Text(value.to_string())))
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = ConfigTree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a switch, a list of them, or a table")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<ConfigTree, E> {
        leaf(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<ConfigTree, E> {
        leaf(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<ConfigTree, E> {
        leaf(value)
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<ConfigTree, E> {
        leaf(value)
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<ConfigTree, E> {
        leaf(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<ConfigTree, E> {
        leaf(value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<ConfigTree, E> {
        leaf(value)
    }

    fn visit_none<E: Error>(self) -> Result<ConfigTree, E> {
        Ok(ConfigTree::Leaf(SettingValue::Absent))
    }

    fn visit_unit<E: Error>(self) -> Result<ConfigTree, E> {
        Ok(ConfigTree::Leaf(SettingValue::Absent))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<ConfigTree, D::Error> {
        ConfigTree::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<ConfigTree, D::Error> {
        ConfigTree::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ConfigTree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            match item {
                ConfigTree::Leaf(SettingValue::Text(text)) => list.push(text),
                ConfigTree::Leaf(SettingValue::List(_) | SettingValue::Absent) | ConfigTree::Table(_) => {
                    return Err(A::Error::custom("the items of a list are texts or numbers"));
                }
            }
        }
        Ok(ConfigTree::Leaf(SettingValue::List(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<ConfigTree, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(ConfigTree::Table(table))
    }
}
