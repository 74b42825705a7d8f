//! What the fuzz targets share.

/// Ends the process at a panic, unless it is one of the crates `name` begins, whose readers panic on some damaged input: ours catch
/// and refuse that. For the `init` of a target.
pub fn end_unless_from(name: &'static str) {
    let folder = format!("/{name}");
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_none_or(|place| !place.file().contains(&folder)) {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}
