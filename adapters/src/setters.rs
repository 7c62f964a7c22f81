//! The setters of structs whose fields can be set as well.

/// Setters for fields of the same names.
macro_rules! setters {
    ($($(#[$attribute:meta])* $name:ident: $type:ty,)*) => {$(
        $(#[$attribute])*
        #[doc = concat!("Sets the field `", stringify!($name), "`.")]
        #[must_use]
        pub fn $name(mut self, $name: impl Into<$type>) -> Self {
            self.$name = $name.into();
            self
        }
    )*};
}
pub(crate) use setters;
