//! Any bytes as an archive of a model: refused, or unpacked inside its folder.
#![no_main]

use artifact::import::Source;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("archive");
    std::fs::write(&path, bytes).expect("a file in it");
    let _ = Source::open(&path);
    assert_eq!(
        std::fs::read_dir(folder.path()).expect("the folder").count(),
        1,
        "something was unpacked beside the file"
    );
});
