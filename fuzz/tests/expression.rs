//! Any text as an expression: refused, or printed so that it parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use market::Expression;

fuzz_target!(|text: &str| {
    if let Ok(expression) = Expression::parse(text) {
        let printed = expression.to_string();
        let again = Expression::parse(&printed).expect("what is printed parses");
        assert_eq!(again.to_string(), printed);
    }
});
