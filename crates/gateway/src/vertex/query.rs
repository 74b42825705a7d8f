//! The query of a request: pages of a list, and what this version does not offer of a list.
//!
//! `$alt`, `fields` and whatever else Google's clients append is accepted and means nothing here.

use axum::http::Uri;
use percent_encoding::percent_decode_str;
use platform::{Error, Kind, PAGE_SIZE_MAX, Page};

/// The query, in pairs.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a URI.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] if it is no query.
    pub(crate) fn parse(uri: &Uri) -> Result<Self, Error> {
        let raw = uri.query().unwrap_or_default();
        if percent_decode_str(raw).decode_utf8().is_err() {
            return Err(Error::new(Kind::InvalidArgument, "the query is not UTF-8"));
        }
        match axum::extract::Query::try_from_uri(uri) {
            Ok(axum::extract::Query(pairs)) => Ok(Self(pairs)),
            Err(rejection) => Err(Error::new(Kind::InvalidArgument, rejection.body_text())),
        }
    }

    /// A parameter that says something, by its `camelCase` or `snake_case` name.
    pub(crate) fn get(&self, camel: &str, snake: &str) -> Option<&str> {
        let named = |(name, value): &&(String, String)| (name == camel || name == snake) && !value.is_empty();
        self.0.iter().find(named).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be repeated.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Which page of a list is asked for that is neither filtered nor ordered.
    ///
    /// # Errors
    /// As [`Query::page_only`], and [`Kind::Unimplemented`] for a filter or an order: ignoring them would answer another
    /// question.
    pub(crate) fn page(&self) -> Result<Page, Error> {
        for (camel, snake) in [("filter", "filter"), ("orderBy", "order_by")] {
            if let Some(value) = self.get(camel, snake) {
                let message =
                    format!("{camel} ({value:?}) is not offered by this version; list without it and pick");
                return Err(Error::new(Kind::Unimplemented, message));
            }
        }
        self.page_only()
    }

    /// Which page of a list is asked for. A page larger than the largest is the largest, as in Google's APIs.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a page size that is no number.
    pub(crate) fn page_only(&self) -> Result<Page, Error> {
        let token = self.get("pageToken", "page_token").map(str::to_owned);
        let default = Page::default().size;
        let size = match self.get("pageSize", "page_size") {
            None => default,
            Some(text) => match text.parse::<u32>() {
                Ok(0) => default,
                Ok(size) => (size as usize).min(PAGE_SIZE_MAX),
                Err(_) => {
                    let message = format!("page size {text:?} is not a number from 0 to {PAGE_SIZE_MAX}");
                    return Err(Error::invalid("pageSize", message));
                }
            },
        };
        Ok(Page { size, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(query: &str) -> Result<Page, Error> {
        Query::parse(&format!("/x?{query}").parse().unwrap())?.page()
    }

    #[test]
    fn pages_are_read_and_the_sdks_extras_mean_nothing() {
        let sdk = "%24alt=json%3Benum-encoding%3Dint";
        assert_eq!(page(sdk).unwrap(), Page::default());
        let asked = page(&format!("pageSize=7&pageToken=a%40b&{sdk}&filter=")).unwrap();
        assert_eq!(asked, Page { size: 7, token: Some("a@b".to_owned()) });
        assert_eq!(page("page_size=0").unwrap().size, 100);
        assert_eq!(page("pageSize=5000").unwrap().size, 1000);
    }

    #[test]
    fn what_would_change_the_answer_is_refused() {
        assert_eq!(page("filter=display_name%3D%22x%22").unwrap_err().kind(), Kind::Unimplemented);
        assert_eq!(page("orderBy=create_time").unwrap_err().kind(), Kind::Unimplemented);
        assert_eq!(page("pageToken=%ff").unwrap_err().to_string(), "the query is not UTF-8");
        assert_eq!(page("pageSize=-1").unwrap_err().violations()[0].field, "pageSize");
    }
}
