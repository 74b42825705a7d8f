//! Lists in pages: a size, a token, and the items after it.

use crate::{Error, Result};

/// The largest page.
pub const PAGE_SIZE_MAX: usize = 1000;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// At most so many items, 1 to [`PAGE_SIZE_MAX`].
    pub size: usize,
    /// The token of the page before; absent: from the start.
    pub token: Option<String>,
}

impl Default for Page {
    fn default() -> Self {
        Self { size: 100, token: None }
    }
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// The items, in a stable order.
    pub items: Vec<T>,
    /// What to ask with for the items after these; absent: these are the last.
    pub next_token: Option<String>,
}

impl Page {
    pub(crate) fn limit(&self) -> Result<usize> {
        if (1..=PAGE_SIZE_MAX).contains(&self.size) {
            return Ok(self.size);
        }
        Err(Error::invalid("pageSize", format!("page size must be 1 to {PAGE_SIZE_MAX}, got {}", self.size)))
    }

    /// Cuts a list of one more than the page down to it; the token is the last item's key.
    pub(crate) fn cut<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> String) -> Paged<T> {
        let more = items.len() > self.size;
        items.truncate(self.size);
        let next_token = if more { items.last().map(key) } else { None };
        Paged { items, next_token }
    }
}
