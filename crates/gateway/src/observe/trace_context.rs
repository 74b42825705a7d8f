//! W3C's Trace Context: which trace of the caller's a request belongs to.
//!
//! A valid `traceparent` is kept with a span id of ours; the reply and the log have both. An invalid one is passed over, and
//! `tracestate` with it; an invalid `tracestate` alone is. No trace is begun for who brings none: the request's id does that.
//! Source: W3C Trace Context (Recommendation of 2021, and its level 2 for the flag `random`).

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// `00-TRACE-SPAN-FLAGS`
const LENGTH: usize = 55;
/// Flags that are passed on: sampled, and that the trace's id is random. Others have no meaning yet and are 0.
const FLAGS: u8 = 0x03;
const MEMBERS_MAX: usize = 32;

/// A trace, and our part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// `traceparent` of the reply, whose characters are known to be ASCII.
    parent: String,
    state: Option<HeaderValue>,
}

/// Hands out span ids: not 0, and as good as random.
#[derive(Debug, Default)]
pub(crate) struct SpanIds {
    state: RandomState,
    next: AtomicU64,
}

impl SpanIds {
    fn next(&self) -> u64 {
        self.state.hash_one(self.next.fetch_add(1, Ordering::Relaxed)).max(1)
    }
}

impl TraceContext {
    /// The trace of a request, if it brings one.
    pub(crate) fn of(headers: &HeaderMap, spans: &SpanIds) -> Option<Self> {
        let mut parents = headers.get_all(TRACEPARENT).iter();
        let parent = parents.next()?.to_str().ok()?;
        // Two of them are none.
        if parents.next().is_some() {
            return None;
        }
        let (trace, flags) = parsed(parent)?;
        let parent = format!("00-{trace}-{:016x}-{:02x}", spans.next(), flags & FLAGS);
        Some(Self { parent, state: state(headers) })
    }

    /// 32 hexadecimal digits.
    pub(super) fn trace_id(&self) -> &str {
        &self.parent[3..35]
    }

    /// 16 hexadecimal digits: what was done here.
    pub(super) fn span_id(&self) -> &str {
        &self.parent[36..52]
    }

    /// Writes it into the headers of a reply.
    pub(super) fn write(&self, headers: &mut HeaderMap) {
        if let Ok(parent) = HeaderValue::from_str(&self.parent) {
            headers.insert(TRACEPARENT, parent);
        }
        if let Some(state) = &self.state {
            headers.insert(TRACESTATE, state.clone());
        }
    }
}

/// The trace's id and the flags of a `traceparent`.
fn parsed(text: &str) -> Option<(&str, u8)> {
    // Of a later version only what is as long as this one's is known.
    let (known, rest) = text.split_at_checked(LENGTH)?;
    let version = hexadecimal(&known[..2])?;
    let ends = match version {
        0 => rest.is_empty(),
        0xff => false,
        _ => rest.is_empty() || rest.starts_with('-'),
    };
    let mut fields = known.split('-').skip(1);
    let (trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?);
    if !ends || fields.next().is_some() || (trace.len(), span.len(), flags.len()) != (32, 16, 2) {
        return None;
    }
    let sane = |id: &str| id.bytes().all(is_digit) && id.bytes().any(|digit| digit != b'0');
    (sane(trace) && sane(span)).then_some((trace, hexadecimal(flags)?))
}

fn hexadecimal(two: &str) -> Option<u8> {
    two.bytes().all(is_digit).then(|| u8::from_str_radix(two, 16).ok())?
}

/// Of hexadecimal numbers, in lower case.
fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The list of all `tracestate` headers, if it is one.
fn state(headers: &HeaderMap) -> Option<HeaderValue> {
    let all = headers.get_all(TRACESTATE).iter();
    let texts: Vec<&str> = all.map(HeaderValue::to_str).collect::<Result<_, _>>().ok()?;
    let members: Vec<&str> = texts
        .iter()
        .flat_map(|text| text.split(','))
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
        .collect();
    let keys: Option<Vec<&str>> = members.iter().map(|member| key(member)).collect();
    let mut keys = keys?;
    keys.sort_unstable();
    let twice = keys.windows(2).any(|pair| pair[0] == pair[1]);
    if keys.is_empty() || keys.len() > MEMBERS_MAX || twice {
        return None;
    }
    HeaderValue::try_from(members.join(",")).ok()
}

/// The key of a member `KEY=VALUE` that is one.
fn key(member: &str) -> Option<&str> {
    let (key, value) = member.split_once('=')?;
    let value_bytes = value.as_bytes();
    let visible = value_bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'='));
    let value_is_one = (1..=256).contains(&value.len()) && visible && !value.ends_with(' ');
    let inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    let named = |text: &str, length: usize, digit_first: bool| {
        let first = text.bytes().next();
        (1..=length).contains(&text.len())
            && first
                .is_some_and(|first| first.is_ascii_lowercase() || (digit_first && first.is_ascii_digit()))
            && text.bytes().all(inner)
    };
    let key_is_one = match key.split_once('@') {
        None => named(key, 256, false),
        Some((tenant, system)) => named(tenant, 241, true) && named(system, 14, false),
    };
    (value_is_one && key_is_one).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(headers: &[(&'static str, &str)]) -> Option<TraceContext> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        TraceContext::of(&map, &SpanIds::default())
    }

    fn state_of(states: &[&str]) -> Option<String> {
        let headers: Vec<_> = std::iter::once(("traceparent", PARENT))
            .chain(states.iter().map(|state| ("tracestate", *state)))
            .collect();
        of(&headers).unwrap().state.map(|state| state.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_trace_goes_on_with_a_span_of_ours() {
        let context = of(&[("traceparent", PARENT), ("tracestate", "congo=t61rcWkgMzE")]).unwrap();
        let mut headers = HeaderMap::new();
        context.write(&mut headers);
        let parent = headers["traceparent"].to_str().unwrap();
        assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{parent}");
        assert_eq!((parent.len(), context.trace_id()), (LENGTH, TRACE));
        assert!(!parent.contains("00f067aa0ba902b7") && parent.contains(context.span_id()));
        assert_eq!(headers["tracestate"], "congo=t61rcWkgMzE");
        let spans = SpanIds::default();
        assert_ne!(spans.next(), spans.next());
    }

    // The cases of the specification and of its test suite (w3c/trace-context, test/test.py).
    #[test]
    fn what_is_no_traceparent_is_passed_over() {
        let with = |flags: &str| format!("00-{TRACE}-00f067aa0ba902b7-{flags}");
        for bad in [
            "",
            "00",
            TRACE,
            &with(""),
            &with("1"),
            &with("001"),
            &with("0g"),
            &with("0A"),
            &with(".0"),
            &format!("{}-what", with("01")),
            &format!("{}.", with("01")),
            &format!("0-{TRACE}-00f067aa0ba902b7-01"),
            &format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            &format!(".0-{TRACE}-00f067aa0ba902b7-01"),
            &format!("cc{}x", &with("01")[2..]),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", &TRACE[1..]),
            &format!("00-0{TRACE}-00f067aa0ba902b7-01"),
            &format!("00-.{}-00f067aa0ba902b7-01", &TRACE[1..]),
            &format!("00-{TRACE}-0000000000000000-01"),
            &format!("00-{TRACE}-00F067AA0BA902B7-01"),
            &format!("00-{TRACE}-0f067aa0ba902b7-01"),
            &format!("00-{TRACE}-000f067aa0ba902b7-01"),
            &format!("00_{TRACE}_00f067aa0ba902b7_01"),
        ] {
            assert_eq!(of(&[("traceparent", bad), ("tracestate", "foo=1")]), None, "{bad:?}");
        }
        assert_eq!(of(&[("tracestate", "foo=1")]), None);
        assert_eq!(of(&[("traceparent", PARENT), ("traceparent", PARENT)]), None);
    }

    #[test]
    fn of_a_later_version_what_is_known_is_taken() {
        for rest in ["", "-what-the-future-will-be-like", "-"] {
            let context = of(&[("traceparent", &format!("cc{}{rest}", &PARENT[2..]))]).unwrap();
            assert!(context.parent.starts_with(&format!("00-{TRACE}-")), "{}", context.parent);
        }
        let flags = of(&[("traceparent", &format!("{}ff", &PARENT[..53]))]).unwrap();
        assert!(flags.parent.ends_with("-03"), "{}", flags.parent);
    }

    #[test]
    fn a_state_is_one_list_of_members() {
        let long = |n: usize| "z".repeat(n);
        let members = |n: usize| (0..n).map(|at| format!("k{at}=1")).collect::<Vec<_>>().join(",");
        for (given, expected) in [
            (vec!["foo=1,bar=2"], "foo=1,bar=2"),
            (vec!["foo=1", "bar=2"], "foo=1,bar=2"),
            (vec!["foo=1", "", "bar=2"], "foo=1,bar=2"),
            (vec!["foo=1 \t , \t bar=2, \t baz=3"], "foo=1,bar=2,baz=3"),
            (vec!["\tfoo=1\t"], "foo=1"),
            (vec!["foo=1,,,"], "foo=1"),
            (vec!["t@v=a b!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~"], "t@v=a b!\"#$%&'()*+-./:;<>?@[\\]^_`{|}~"),
            (vec!["0t_-*/@v-*/=1"], "0t_-*/@v-*/=1"),
        ] {
            assert_eq!(state_of(&given).as_deref(), Some(expected), "{given:?}");
        }
        for good in [format!("{}=1", long(256)), format!("{}@{}=1", long(241), long(14)), members(32)] {
            assert_eq!(state_of(&[&good]), Some(good));
        }
        for bad in [
            "foo".to_owned(),
            "=1".to_owned(),
            "foo=".to_owned(),
            "foo=bar=baz".to_owned(),
            "foo=,bar=3".to_owned(),
            "foo =1".to_owned(),
            "FOO=1".to_owned(),
            "foo.bar=1".to_owned(),
            "0foo=1".to_owned(),
            "foo@=1,bar=2".to_owned(),
            "@foo=1,bar=2".to_owned(),
            "foo@@bar=1,bar=2".to_owned(),
            "foo@bar@baz=1,bar=2".to_owned(),
            "foo=1,foo=2".to_owned(),
            "foo=a\tb".to_owned(),
            format!("foo={}", long(257)),
            format!("{}=1", long(257)),
            format!("{}@v=1", long(242)),
            format!("t@{}=1", long(15)),
            members(33),
        ] {
            assert_eq!(state_of(&[&bad]), None, "{bad:?}");
        }
        assert_eq!(state_of(&[""]), None);
    }
}
