//! Any bytes as the graph of a SavedModel: refused, or converted as far as it goes without variables.
#![no_main]

use artifact::format::saved_model::read::SavedModelSource;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("saved_model.pb"), bytes).expect("a file in it");
    if let Ok(source) = SavedModelSource::open(folder.path()) {
        for signature in source.signatures() {
            let _ = source.convert(&signature.name);
        }
    }
});
