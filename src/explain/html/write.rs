//! Text enters a page in one way: escaped.

/// A page that is being written. Markup of the program is written as it is;
/// everything else goes through [`Html::text`].
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Markup, which only the program itself can contain.
    pub fn mark(&mut self, markup: &'static str) -> &mut Html {
        self.0.push_str(markup);
        self
    }

    /// Text, for an element or an attribute in quotes.
    pub fn text(&mut self, text: &str) -> &mut Html {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(c),
            }
        }
        self
    }

    /// A number.
    pub fn number(&mut self, number: u64) -> &mut Html {
        self.0.push_str(&number.to_string());
        self
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}
