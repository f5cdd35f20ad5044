//! A handful of styles, or none.

use std::fmt;

/// Styles for one stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Palette {
    on: bool,
}

/// Text in a style.
pub(crate) struct Painted<T> {
    code: Option<&'static str>,
    text: T,
}

impl Palette {
    /// Styles if `on`, plain text otherwise.
    pub(crate) const fn new(on: bool) -> Self {
        Self { on }
    }

    /// Whether styles are used.
    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    fn paint<T>(self, code: &'static str, text: T) -> Painted<T> {
        Painted { code: self.on.then_some(code), text }
    }

    /// For names.
    pub(crate) fn bold<T>(self, text: T) -> Painted<T> {
        self.paint("1", text)
    }

    /// For what matters less.
    pub(crate) fn dim<T>(self, text: T) -> Painted<T> {
        self.paint("2", text)
    }

    /// For what went well.
    pub(crate) fn green<T>(self, text: T) -> Painted<T> {
        self.paint("32", text)
    }

    /// For warnings.
    pub(crate) fn yellow<T>(self, text: T) -> Painted<T> {
        self.paint("1;33", text)
    }

    /// For errors.
    pub(crate) fn red<T>(self, text: T) -> Painted<T> {
        self.paint("1;31", text)
    }

    /// For what can be typed or copied.
    pub(crate) fn cyan<T>(self, text: T) -> Painted<T> {
        self.paint("36", text)
    }
}

/// Width and alignment apply to the text without its style.
impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(code) = self.code else {
            return self.text.fmt(f);
        };
        write!(f, "\x1b[{code}m")?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}
