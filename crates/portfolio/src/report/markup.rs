//! Writing HTML so that no text of a caller can become markup: literals go in as they are, all else escaped.

use std::fmt::{self, Display, Write};

/// HTML under construction. Markup can only come from `&'static str` literals or other [`Html`].
#[derive(Debug, Default, Clone)]
pub(super) struct Html {
    out: String,
}

impl Html {
    pub(super) fn new() -> Html {
        Html::default()
    }

    /// Markup from the source code.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Html {
        self.out.push_str(markup);
        self
    }

    /// Text of any origin, escaped for element content and double-quoted attributes.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Html {
        let mut escaper = Escaper(&mut self.out);
        // Writing to a string cannot fail; a `Display` that fails of its own leaves its text unfinished.
        let _ = write!(escaper, "{text}");
        self
    }

    /// Finished markup.
    pub(super) fn add(&mut self, other: &Html) -> &mut Html {
        self.out.push_str(&other.out);
        self
    }

    /// An SVG coordinate: one decimal, without a trailing `.0`.
    pub(super) fn px(&mut self, value: f64) -> &mut Html {
        let tenths = (value * 10.0).round() as i64;
        let (sign, size) = (if tenths < 0 { "-" } else { "" }, tenths.unsigned_abs());
        let _ = match size % 10 {
            0 => write!(self.out, "{sign}{}", size / 10),
            tenth => write!(self.out, "{sign}{}.{tenth}", size / 10),
        };
        self
    }

    pub(super) fn into_string(self) -> String {
        self.out
    }
}

struct Escaper<'a>(&'a mut String);

impl Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // Control characters are not allowed in HTML and never meant to be seen.
                control if control.is_control() && control != '\n' && control != '\t' => {
                    self.0.push('\u{fffd}');
                }
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_markup_is_not() {
        let mut html = Html::new();
        html.raw("<b title=\"").text("a\"b'c").raw("\">").text("<i>&\u{0}").raw("</b>");
        assert_eq!(html.into_string(), "<b title=\"a&quot;b&#39;c\">&lt;i&gt;&amp;\u{fffd}</b>");
    }

    #[test]
    fn coordinates_have_one_decimal_at_most() {
        let mut html = Html::new();
        for value in [1.0, 2.25, -0.04, -3.96, f64::NAN] {
            html.px(value).raw(" ");
        }
        assert_eq!(html.into_string(), "1 2.3 0 -4 0 ");
    }
}
