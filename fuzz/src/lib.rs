//! What the fuzz targets share.

/// Lets pass the panics of crates whose names begin with `name`: their readers panic on some damaged input, which ours catch and
/// refuse. Any other still ends the process, as libFuzzer set it up. For the `init` of a target.
pub fn end_unless_from(name: &'static str) {
    let folder = format!("/{name}");
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_none_or(|place| !place.file().contains(&folder)) {
            end(panic);
        }
    }));
}
