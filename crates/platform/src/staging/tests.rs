//! What is staged, in which order and under which names.

use super::*;

fn area() -> (tempfile::TempDir, Staging) {
    let dir = tempfile::tempdir().unwrap();
    let staging = Staging::open(dir.path()).unwrap();
    (dir, staging)
}

fn upload(name: &str) -> StagedUpload {
    StagedUpload { bucket: "models".to_owned(), name: name.to_owned(), ..StagedUpload::default() }
}

#[test]
fn what_is_staged_is_listed_and_resolves() {
    let (_dir, staging) = area();
    let top = "vertex_ai_auto_staging/2026-11-26-00:57:12.123";
    for name in ["saved_model.pb", "variables/variables.index"] {
        let object = staging.put(&upload(&format!("{top}/{name}")), b"bytes").unwrap();
        let md5 = hex::decode("4b3a6218bb3e3a7303e8a171a60fcf92").unwrap().try_into().unwrap();
        let checksums = Checksums { crc32c: crc32c::crc32c(b"bytes"), md5 };
        assert_eq!((object.size, object.checksums), (5, Some(checksums)));
    }
    let listed = staging.list("models", "vertex_ai_auto").unwrap();
    let names: Vec<&str> = listed.iter().map(|object| object.name.as_str()).collect();
    assert_eq!(names, [format!("{top}/saved_model.pb"), format!("{top}/variables/variables.index")]);
    assert!(staging.list("models", "other").unwrap().is_empty());
    assert!(staging.list("empty-bucket", "").unwrap().is_empty());
    for uri in [format!("gs://models/{top}"), format!("gs://models/{top}/")] {
        assert!(staging.resolve(&uri).unwrap().join("saved_model.pb").is_file());
    }
    assert_eq!(staging.resolve("gs://models/other"), None);
    assert_eq!(staging.resolve("gs://models/../.."), None);
    for object in listed {
        staging.delete("models", &object.name, None).unwrap();
    }
    assert_eq!(staging.resolve(&format!("gs://models/{top}")), None);
    assert_eq!(staging.stat("models", "x").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn an_upload_in_parts_goes_on_where_it_is() {
    let (_dir, staging) = area();
    let announced = StagedUpload { crc32c: Some(crc32c::crc32c(b"0123456789")), ..upload("m/a") };
    let session = staging.begin(&announced).unwrap();
    assert_eq!(staging.append(&session, 0, b"0123", None).unwrap(), Received::Part(4));
    assert!(staging.stat("models", "m/a").is_err(), "half an object is none");
    // The answer was lost, the client sends it again with more.
    assert_eq!(staging.append(&session, 2, b"2345", Some(10)).unwrap(), Received::Part(6));
    assert_eq!(staging.received(&session).unwrap(), 6);
    let gap = staging.append(&session, 8, b"89", Some(10)).unwrap_err();
    assert!(gap.to_string().contains("go on at 6"), "{gap}");
    let Received::Whole(object) = staging.append(&session, 6, b"6789", Some(10)).unwrap() else {
        panic!("all bytes are there")
    };
    assert_eq!(object.size, 10);
    assert_eq!(std::fs::read(staging.file("models", "m/a").unwrap()).unwrap(), b"0123456789");
    assert_eq!(staging.received(&session).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn a_name_may_begin_with_another_one_whichever_comes_first() {
    let names = ["saved", "saved/model.pb", "saved/model.pb/x", "saved/model.pb/x/y"];
    let mut orders = vec![names.to_vec(), names.iter().rev().copied().collect()];
    orders.push(vec![names[2], names[0], names[3], names[1]]);
    for order in orders {
        let (_dir, staging) = area();
        for name in order {
            staging.put(&upload(name), b"before").unwrap();
            // In parts as well, over what is there.
            let session = staging.begin(&upload(name)).unwrap();
            staging.append(&session, 0, name.as_bytes(), Some(name.len() as u64)).unwrap();
        }
        let listed = staging.list("models", "saved").unwrap();
        assert_eq!(listed.iter().map(|object| object.name.as_str()).collect::<Vec<_>>(), names);
        for name in names {
            let file = staging.file("models", name).unwrap();
            assert_eq!(std::fs::read(file).unwrap(), name.as_bytes());
            assert_eq!(staging.stat("models", name).unwrap().size, name.len() as u64);
        }
        assert!(staging.resolve("gs://models/saved").unwrap().is_dir(), "a model is a folder");
        assert!(staging.resolve("gs://models/saved/model.pb/x/y").unwrap().is_file());
        for name in ["saved/model.pb/x/y", "saved/model.pb/x", "saved"] {
            staging.delete("models", name, None).unwrap();
            assert_eq!(staging.stat("models", name).unwrap_err().kind(), Kind::NotFound);
        }
        // Nothing lies below it any more, and it is still one object.
        staging.put(&upload("saved/model.pb"), b"after").unwrap();
        assert_eq!(staging.list("models", "").unwrap().len(), 1);
        assert_eq!(std::fs::read(staging.file("models", "saved/model.pb").unwrap()).unwrap(), b"after");
        staging.delete("models", "saved/model.pb", None).unwrap();
        assert!(staging.list("models", "").unwrap().is_empty());
    }
}

#[test]
fn an_object_is_replaced_only_if_it_is_the_one_that_was_meant() {
    let (_dir, staging) = area();
    let replacing = |generation| StagedUpload { replaces: Some(generation), ..upload("a") };
    let kind = |result: Result<StagedObject>| result.unwrap_err().kind();
    assert_eq!(kind(staging.put(&replacing(7), b"x")), Kind::FailedPrecondition, "it is not there");
    let first = staging.put(&replacing(0), b"first").unwrap();
    assert_eq!(kind(staging.put(&replacing(0), b"x")), Kind::FailedPrecondition, "it is there");
    // Two who mean the same one: the first to end wins, and no generation comes twice, however fast.
    let session = staging.begin(&replacing(first.generation())).unwrap();
    let mut last = first.generation();
    for _ in 0..50 {
        let next = staging.put(&replacing(last), b"next").unwrap().generation();
        assert!(next > last);
        last = next;
    }
    let late = staging.append(&session, 0, b"late", Some(4)).unwrap_err();
    assert_eq!(late.kind(), Kind::FailedPrecondition);
    assert_eq!(staging.received(&session).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(std::fs::read(staging.file("models", "a").unwrap()).unwrap(), b"next");
    let other = staging.delete("models", "a", Some(first.generation())).unwrap_err();
    assert_eq!(other.kind(), Kind::FailedPrecondition);
    staging.delete("models", "a", Some(last)).unwrap();
}

#[test]
fn damage_and_odd_names_are_refused() {
    let (dir, staging) = area();
    let wrong = StagedUpload { md5: Some([1; 16]), ..upload("a") };
    let refusal = staging.put(&wrong, b"x").unwrap_err();
    assert!(refusal.to_string().contains("MD5") && refusal.to_string().contains("send them again"));
    assert!(staging.stat("models", "a").is_err());
    let wrong = StagedUpload { crc32c: Some(1), ..upload("a") };
    let refusal = staging.put(&wrong, b"x").unwrap_err();
    assert!(refusal.to_string().contains("send them again"), "{refusal}");
    assert!(staging.stat("models", "a").is_err());
    let long = "x/".repeat(600);
    for name in ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\nb", &long] {
        assert_eq!(staging.put(&upload(name), b"x").unwrap_err().kind(), Kind::InvalidArgument, "{name}");
    }
    for bucket in ["", "..", "ab", ".uploads", "-ab", "A-b", "a/b/c", "x.y.z"] {
        let odd = StagedUpload { bucket: bucket.to_owned(), ..upload("a") };
        assert_eq!(staging.put(&odd, b"x").unwrap_err().kind(), Kind::InvalidArgument, "{bucket}");
    }
    for session in ["", "../x", "0123456789abcdef0123456789abcdef"] {
        assert_eq!(staging.received(session).unwrap_err().kind(), Kind::NotFound);
    }
    let session = staging.begin(&upload("a")).unwrap();
    staging.cancel(&session).unwrap();
    assert!(staging.append(&session, 0, b"x", None).is_err());
    let huge = staging.begin(&upload("a")).unwrap();
    let refusal = staging.append(&huge, 0, b"x", Some(1 << 40)).unwrap_err();
    assert_eq!(refusal.kind(), Kind::ResourceExhausted);
    // A restart forgets what was not finished.
    let again = Staging::open(dir.path()).unwrap();
    assert!(again.received(&huge).is_err());
}

#[test]
fn a_part_that_meets_the_end_of_its_upload_is_told_that_there_is_none() {
    let (_dir, staging) = area();
    let session = staging.begin(&upload("a")).unwrap();
    staging.append(&session, 0, b"xy", None).unwrap();
    let (meta, part) = staging.session(&session).unwrap();
    std::thread::scope(|scope| {
        // As whoever finishes it does.
        let held = staging.lock();
        let again = scope.spawn(|| staging.append(&session, 0, b"xy", Some(2)));
        let cancelled = scope.spawn(|| staging.cancel(&session));
        // Time to come as far as the lock.
        std::thread::sleep(Duration::from_millis(100));
        std::fs::remove_file(&part).unwrap();
        assert_eq!(staging.received(&session).unwrap_err().kind(), Kind::NotFound);
        std::fs::remove_file(&meta).unwrap();
        drop(held);
        assert_eq!(again.join().unwrap().unwrap_err().kind(), Kind::NotFound);
        assert_eq!(cancelled.join().unwrap().unwrap_err().kind(), Kind::NotFound);
    });
}
