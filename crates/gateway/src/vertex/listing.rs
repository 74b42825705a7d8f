//! Lists that are filtered, ordered, cut into pages and thinned out: `filter`, `orderBy`, `pageToken`, `readMask`.
//!
//! A page token says after which item the next page begins, by what the list is ordered by and the item's id, so that nothing is
//! left out or given twice when items come and go meanwhile. It is good for the filter and the order it was given out with.

use std::cmp::Ordering;

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform::{Error, Page, Paged};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::fields::camel_case;
use super::filter::{Field, Filter, Item, snake_case};
use super::query::Query;

/// The most fields a list is ordered by.
const ORDER_MAX: usize = 4;

/// How a list is asked for.
#[derive(Debug)]
pub(crate) struct Listing {
    page: Page,
    filter: Option<Filter>,
    order: Vec<Order>,
    /// Filter and order as they were given: what a token is good for.
    asked: String,
}

/// One field a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Order {
    field: &'static str,
    descending: bool,
}

/// Where a page ended.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    asked: String,
    keys: Vec<Key>,
    id: String,
}

/// What an item is ordered by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Key {
    Text(String),
    Number(u64),
    /// Nanoseconds since 1970.
    Time(i128),
}

impl From<Field<'_>> for Key {
    fn from(field: Field<'_>) -> Self {
        match field {
            Field::Text(text) => Self::Text(text.into_owned()),
            Field::Number(number) => Self::Number(number),
            Field::Time(time) => Self::Time(time.as_nanosecond()),
            Field::List(list) => Self::Text(list.join(",")),
        }
    }
}

impl Listing {
    /// Reads how a list of items is asked for, which may be ordered by `orderable` fields.
    ///
    /// # Errors
    /// [`platform::Kind::InvalidArgument`] naming the parameter.
    pub(crate) fn parse<T: Item>(query: &Query, orderable: &[&'static str]) -> Result<Self, Error> {
        let filter = query.get("filter", "filter");
        let order = query.get("orderBy", "order_by");
        let asked = format!("{}\n{}", filter.unwrap_or_default(), order.unwrap_or_default());
        let filter = filter.map(Filter::parse::<T>).transpose()?;
        let order = order.map(|order| self::order(order, orderable)).transpose()?.unwrap_or_default();
        Ok(Self { page: query.page_only()?, filter, order, asked })
    }

    /// The page as the registry cuts it, by id; nothing if the whole list must be seen for it.
    pub(crate) fn plain(&self) -> Option<&Page> {
        (self.filter.is_none() && self.order.is_empty()).then_some(&self.page)
    }

    /// The page of a whole list; `id` tells its items apart and orders those that are equal else, byte by byte.
    ///
    /// # Errors
    /// [`platform::Kind::InvalidArgument`] for a page token that is none of this list.
    pub(crate) fn cut<T: Item>(&self, items: Vec<T>, id: impl Fn(&T) -> String) -> Result<Paged<T>, Error> {
        let after = self.page.token.as_deref().map(|token| self.read(token)).transpose()?;
        let keys = |item: &T| self.order.iter().map(|order| Key::from(item.field(order.field))).collect();
        let wanted = |item: &T| self.filter.as_ref().is_none_or(|filter| filter.matches(item));
        let mut keyed: Vec<(Vec<Key>, String, T)> = items
            .into_iter()
            .filter(wanted)
            .map(|item| (keys(&item), id(&item), item))
            .filter(|(keys, id, _)| {
                let place = after.as_ref().map(|token| self.compare((keys, id), (&token.keys, &token.id)));
                place.is_none_or(Ordering::is_gt)
            })
            .collect();
        keyed.sort_by(|a, b| self.compare((&a.0, &a.1), (&b.0, &b.1)));
        let more = keyed.len() > self.page.size;
        keyed.truncate(self.page.size);
        let next_token = match keyed.last().filter(|_| more) {
            Some((keys, id, _)) => {
                let token = Token { asked: self.asked.clone(), keys: keys.clone(), id: id.clone() };
                let json = serde_json::to_vec(&token);
                let json = json.map_err(|error| Error::internal("cannot write a page token", error))?;
                Some(URL_SAFE_NO_PAD.encode(json))
            }
            None => None,
        };
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

    fn read(&self, token: &str) -> Result<Token, Error> {
        let read = URL_SAFE_NO_PAD.decode(token).ok();
        let read = read.and_then(|json| serde_json::from_slice::<Token>(&json).ok());
        let read = read.filter(|read| read.asked == self.asked && read.keys.len() == self.order.len());
        read.ok_or_else(|| {
            let message =
                format!("page token {token:?} is not one of this filter and order; start without one");
            Error::invalid("pageToken", message)
        })
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

/// Leaves of each item what `readMask` names, and the whole of it without one.
pub(crate) fn mask(query: &Query, items: &mut [Value]) {
    let Some(mask) = query.get("readMask", "read_mask").filter(|mask| *mask != "*") else { return };
    let paths: Vec<Vec<String>> =
        mask.split(',').map(|path| path.trim().split('.').map(camel_case).collect()).collect();
    for item in items {
        let mut kept = Value::Object(Map::new());
        for path in &paths {
            keep(item, &mut kept, path);
        }
        *item = kept;
    }
}

fn keep(from: &Value, to: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    let (Some(value), Some(to)) = (from.get(first), to.as_object_mut()) else { return };
    if rest.is_empty() || !value.is_object() {
        to.insert(first.clone(), value.clone());
    } else {
        let inner = to.entry(first.clone()).or_insert_with(|| Value::Object(Map::new()));
        keep(value, inner, rest);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

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

    fn listing(text: &str) -> Result<Listing, Error> {
        Listing::parse::<Thing>(&query(text), &["display_name", "create_time"])
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
            let error = listing(&asked).unwrap().cut(things(), id).unwrap_err();
            assert_eq!(error.violations()[0].field, "pageToken", "{asked}");
        }
    }

    #[test]
    fn an_order_that_cannot_be_is_refused() {
        for bad in ["size", "create_time%20up", "create_time%20desc%20x", "create_time,,", "labels"] {
            let error = listing(&format!("orderBy={bad}")).unwrap_err();
            assert_eq!(error.violations()[0].field, "orderBy", "{bad}");
        }
        assert!(listing("orderBy=create_time,create_time,create_time,create_time,create_time").is_err());
        assert!(listing("").unwrap().plain().is_some());
        assert!(listing("orderBy=create_time").unwrap().plain().is_none());
    }

    #[test]
    fn a_mask_leaves_what_it_names() {
        let item = json!({"name": "n", "displayName": "d", "labels": {"a": "1", "b": "2"}, "etag": "e"});
        for (asked, expected) in [
            ("readMask=name,labels.a", json!({"name": "n", "labels": {"a": "1"}})),
            ("read_mask=display_name", json!({"displayName": "d"})),
            ("readMask=*", item.clone()),
            ("", item.clone()),
            ("readMask=nothing", json!({})),
        ] {
            let mut items = [item.clone()];
            mask(&query(asked), &mut items);
            assert_eq!(items[0], expected, "{asked}");
        }
    }
}
