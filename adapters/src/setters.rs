//! The setters of structs whose fields can be set as well.

/// Setters for fields of the same names.
macro_rules! setters {
    ($($(#[$attribute:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$attribute])*
        #[doc = concat!("Sets the field `", stringify!($name), "`.")]
        #[must_use]
        pub fn $name(mut self, $name: $type) -> Self {
            self.$name = $name;
            self
        }
    )*};
}
pub(crate) use setters;

/// The same for optional fields: they take a value or `None`.
macro_rules! option_setters {
    ($($name:ident: $type:ty,)*) => {$(
        #[doc = concat!("Sets the field `", stringify!($name), "`: to a value, or to `None`.")]
        #[must_use]
        pub fn $name(mut self, $name: impl Into<Option<$type>>) -> Self {
            self.$name = $name.into();
            self
        }
    )*};
}
pub(crate) use option_setters;
