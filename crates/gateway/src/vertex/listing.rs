//! Lists that are filtered, ordered and cut into pages: `filter`, `orderBy`, `pageSize`, `pageToken`.
//!
//! A page begins after the item that its token names, by what the list is ordered by and the item's id, so that nothing is left out or
//! given twice when items come and go meanwhile. Deliberately not here: what a token looks like ([`super::page_token`]), `readMask`.

use std::cmp::Ordering;

use axum::Json;
use axum::response::{IntoResponse, Response};
use platform::{Error, Page, Paged};
use serde_json::{Map, Value};

use super::filter::{Filter, Item, snake_case};
use super::page_token::{Key, PageToken};
use super::path::Parent;
use super::query::Query;

/// The most fields a list is ordered by.
const ORDER_MAX: usize = 4;

/// How a list is asked for.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The list: what a token is good for, with filter and order as they were given.
    list: String,
    asked: String,
    filter: Option<Filter>,
    order: Vec<Order>,
    /// At most so many items.
    size: usize,
    /// After which item.
    after: Option<PageToken>,
}

/// One field a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    field: &'static str,
    descending: bool,
}

impl Listing {
    /// Reads how a list of items, `list` of a project, is asked for, which may be ordered by `orderable` fields.
    ///
    /// # Errors
    /// [`platform::Kind::InvalidArgument`] naming the parameter, also for a page token that is none of this list.
    pub(crate) fn parse<T: Item>(
        (parent, list): (&Parent, &str),
        query: &Query,
        orderable: &[&'static str],
    ) -> Result<Self, Error> {
        let filter = query.get("filter", "filter");
        let order = query.get("orderBy", "order_by");
        let asked = format!("{}\n{}", filter.unwrap_or_default(), order.unwrap_or_default());
        let filter = filter.map(Filter::parse::<T>).transpose()?;
        let order = order.map(|order| self::order(order, orderable)).transpose()?.unwrap_or_default();
        Self { asked, filter, order, ..Self::of(parent, list) }.on(query.page_only()?)
    }

    /// Reads how a list is asked for that is neither filtered nor ordered.
    ///
    /// # Errors
    /// As [`Listing::parse`], and [`platform::Kind::Unimplemented`] for a filter or an order.
    pub(crate) fn unfiltered((parent, list): (&Parent, &str), query: &Query) -> Result<Self, Error> {
        Self::of(parent, list).on(query.page()?)
    }

    fn of(parent: &Parent, list: &str) -> Self {
        let list = format!("{}/{list}", parent.project);
        Self { list, asked: "\n".to_owned(), filter: None, order: Vec::new(), size: 0, after: None }
    }

    /// The same on a page.
    fn on(self, Page { size, token }: Page) -> Result<Self, Error> {
        let after = token.map(|text| {
            let token = PageToken::read(&text)?;
            let good = token.list == self.list && token.asked == self.asked;
            if good && token.keys.len() == self.order.len() {
                return Ok(token);
            }
            Err(PageToken::refused(&text, "of this list, filter and order"))
        });
        Ok(Self { size, after: after.transpose()?, ..self })
    }

    /// Whether the registry cuts the page by itself, by id; else the whole list must be seen for it.
    pub(crate) fn is_plain(&self) -> bool {
        self.filter.is_none() && self.order.is_empty()
    }

    /// The page as the registry cuts it, by id.
    pub(crate) fn page(&self) -> Page {
        Page { size: self.size, token: self.after.as_ref().map(|after| after.id.clone()) }
    }

    /// What the registry has cut, with a token of this list.
    ///
    /// # Errors
    /// [`platform::Kind::Internal`] if the token cannot be written.
    pub(crate) fn continued<T>(&self, Paged { items, next_token }: Paged<T>) -> Result<Paged<T>, Error> {
        let next_token = next_token.map(|id| self.token(Vec::new(), id)).transpose()?;
        Ok(Paged { items, next_token })
    }

    fn token(&self, keys: Vec<Key>, id: String) -> Result<String, Error> {
        PageToken { list: self.list.clone(), asked: self.asked.clone(), keys, id }.write()
    }

    /// The page of a whole list; `id` tells its items apart and orders those that are equal else, byte by byte.
    ///
    /// # Errors
    /// As [`Listing::continued`].
    pub(crate) fn cut<T: Item>(&self, items: Vec<T>, id: impl Fn(&T) -> String) -> Result<Paged<T>, Error> {
        let keys = |item: &T| self.order.iter().map(|order| Key::from(item.field(order.field))).collect();
        let wanted = |item: &T| self.filter.as_ref().is_none_or(|filter| filter.matches(item));
        let mut keyed: Vec<(Vec<Key>, String, T)> = items
            .into_iter()
            .filter(wanted)
            .map(|item| (keys(&item), id(&item), item))
            .filter(|(keys, id, _)| {
                let place =
                    self.after.as_ref().map(|token| self.compare((keys, id), (&token.keys, &token.id)));
                place.is_none_or(Ordering::is_gt)
            })
            .collect();
        keyed.sort_by(|a, b| self.compare((&a.0, &a.1), (&b.0, &b.1)));
        let more = keyed.len() > self.size;
        keyed.truncate(self.size);
        let last = keyed.last().filter(|_| more);
        let next_token = last.map(|(keys, id, _)| self.token(keys.clone(), id.clone())).transpose()?;
        Ok(Paged { items: keyed.into_iter().map(|(_, _, item)| item).collect(), next_token })
    }

    fn compare(&self, a: (&Vec<Key>, &String), b: (&Vec<Key>, &String)) -> Ordering {
        let of_field = |(place, order): (usize, &Order)| {
            let ordering = a.0.get(place).cmp(&b.0.get(place));
            if order.descending { ordering.reverse() } else { ordering }
        };
        let fields = self.order.iter().enumerate().map(of_field).find(|ordering| ordering.is_ne());
        fields.unwrap_or_else(|| a.1.cmp(b.1))
    }
}

fn order(text: &str, orderable: &[&'static str]) -> Result<Vec<Order>, Error> {
    let mut orders: Vec<Order> = Vec::new();
    for part in text.split(',') {
        let mut words = part.split_whitespace();
        let name = words.next().unwrap_or_default();
        let field = orderable.iter().find(|known| **known == snake_case(name));
        let descending = match words.next() {
            None | Some("asc") => Some(false),
            Some("desc") => Some(true),
            Some(_) => None,
        };
        let (Some(field), Some(descending), None) = (field, descending, words.next()) else {
            let message = format!(
                "orderBy {:?} is not FIELD [desc], several separated by commas, of the fields {}",
                part.trim(),
                orderable.join(", ")
            );
            return Err(Error::invalid("orderBy", message));
        };
        orders.push(Order { field, descending });
    }
    if orders.len() > ORDER_MAX {
        let message =
            format!("orderBy names {} fields, more than the {ORDER_MAX} there may be", orders.len());
        return Err(Error::invalid("orderBy", message));
    }
    Ok(orders)
}

/// The reply with one page of a list, `name` being what Vertex AI calls it.
pub(crate) fn page(name: &str, items: Vec<Value>, next_token: Option<String>) -> Response {
    let mut page = Map::from_iter([(name.to_owned(), Value::Array(items))]);
    page.extend(next_token.map(|next| ("nextPageToken".to_owned(), Value::String(next))));
    Json(page).into_response()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::filter::Field;
    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Thing(&'static str, u32, i64);

    impl Item for Thing {
        const FIELDS: &'static [&'static str] = &["display_name", "create_time", "labels"];

        fn field(&self, name: &str) -> Field<'_> {
            match name {
                "create_time" => Field::Time(Timestamp::from_second(self.2).unwrap()),
                _ => Field::Text(self.0.into()),
            }
        }

        fn label(&self, _: &str) -> Option<&str> {
            None
        }
    }

    fn things() -> Vec<Thing> {
        vec![
            Thing("b", 9, 5),
            Thing("a", 10, 5),
            Thing("c", 2, 7),
            Thing("a", 1, 3),
            Thing("b", 3, 3),
            Thing("z", 4, 3),
        ]
    }

    fn query(text: &str) -> Query {
        Query::parse(&format!("/x?{text}").parse().unwrap()).unwrap()
    }

    fn parent() -> Parent {
        Parent { project: "p".to_owned(), location: "l".to_owned() }
    }

    fn listing(text: &str) -> Result<Listing, Error> {
        Listing::parse::<Thing>((&parent(), "things"), &query(text), &["display_name", "create_time"])
    }

    fn id(thing: &Thing) -> String {
        format!("{:05}", thing.1)
    }

    fn ids(page: &Paged<Thing>) -> Vec<u32> {
        page.items.iter().map(|thing| thing.1).collect()
    }

    #[test]
    fn a_list_comes_in_the_order_asked_for_and_pages_hold_under_changes() {
        for (order, expected) in [
            ("", [1, 2, 3, 4, 9, 10]),
            ("create_time", [1, 3, 4, 9, 10, 2]),
            ("createTime%20desc", [2, 9, 10, 1, 3, 4]),
            ("display_name%20desc,create_time%20desc", [4, 2, 9, 3, 10, 1]),
            ("display_name,%20create_time%20asc", [1, 10, 3, 9, 2, 4]),
        ] {
            let whole = listing(&format!("orderBy={order}")).unwrap().cut(things(), id).unwrap();
            assert_eq!((ids(&whole).as_slice(), whole.next_token), (expected.as_slice(), None), "{order}");
            let mut found = Vec::new();
            let mut token = String::new();
            let mut there = things();
            loop {
                let asked = format!("order_by={order}&page_size=2&pageToken={token}");
                let page = listing(&asked).unwrap().cut(there.clone(), id).unwrap();
                found.extend(ids(&page));
                // What was given is gone meanwhile.
                there.retain(|thing| !page.items.contains(thing));
                match page.next_token {
                    Some(next) => token = next,
                    None => break,
                }
            }
            assert_eq!(found, expected, "{order}");
        }
    }

    #[test]
    fn a_filter_comes_before_the_pages() {
        let page = listing("filter=display_name%3D%22a%22&pageSize=1").unwrap().cut(things(), id).unwrap();
        assert_eq!(ids(&page), [1]);
        let next = page.next_token.unwrap();
        let filter = "filter=display_name%3D%22a%22";
        let last = listing(&format!("{filter}&pageToken={next}")).unwrap().cut(things(), id).unwrap();
        assert_eq!((ids(&last), last.next_token), (vec![10], None));
        for asked in [
            format!("pageToken={next}"),
            format!("{filter}&orderBy=create_time&pageToken={next}"),
            format!("{filter}&pageToken=x"),
        ] {
            let error = listing(&asked).unwrap_err();
            assert_eq!(error.violations()[0].field, "pageToken", "{asked}");
        }
    }

    #[test]
    fn a_token_is_good_for_its_own_list() {
        let listing = |list: &str, token: &str| {
            let project = if list == "elsewhere" { "q" } else { "p" };
            let parent = Parent { project: project.to_owned(), location: "l".to_owned() };
            Listing::unfiltered((&parent, "things"), &query(&format!("pageSize=2&pageToken={token}")))
        };
        let cut = Paged { items: things(), next_token: Some("id".to_owned()) };
        let token = listing("here", "").unwrap().continued(cut).unwrap().next_token.unwrap();
        assert_eq!(listing("here", &token).unwrap().page(), Page { size: 2, token: Some("id".to_owned()) });
        for refused in [listing("elsewhere", &token), listing("here", "id"), self::listing("pageToken=zzz")] {
            assert_eq!(refused.unwrap_err().violations()[0].field, "pageToken");
        }
        let others = Listing::unfiltered((&parent(), "others"), &query(&format!("pageToken={token}")));
        assert!(others.unwrap_err().to_string().contains("not one of this list"));
        // The same list, asked for with all that may be asked.
        assert!(self::listing(&format!("pageToken={token}")).is_ok());
    }

    #[test]
    fn an_order_that_cannot_be_is_refused() {
        for bad in ["size", "create_time%20up", "create_time%20desc%20x", "create_time,,", "labels"] {
            let error = listing(&format!("orderBy={bad}")).unwrap_err();
            assert_eq!(error.violations()[0].field, "orderBy", "{bad}");
        }
        assert!(listing("orderBy=create_time,create_time,create_time,create_time,create_time").is_err());
        assert!(listing("").unwrap().is_plain());
        assert!(!listing("orderBy=create_time").unwrap().is_plain());
    }
}
