//! Which versions retention leaves.

use platform::AliasChange;

use crate::fixture::{Fixture, P, SMALL};

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_versions_stay_beside_those_that_are_used() {
    let fixture = Fixture::new().await;
    fixture.endpoint("e").await;
    for version in 1..=8 {
        fixture.upload("m", SMALL).await;
        if version <= 2 {
            fixture.deploy("e", &version.to_string(), &format!("m@{version}")).await.unwrap();
        }
    }
    let add = vec!["stable".to_owned()];
    fixture.platform.change_aliases(P, "m@4", AliasChange { add, ..AliasChange::default() }).await.unwrap();
    let pruned = fixture.platform.prune_model(P, "m", 3).await.unwrap();
    assert_eq!((pruned.deleted, pruned.kept), (vec![3, 5], vec![1, 2, 4, 6, 7, 8]));
    let left = fixture.platform.list_model_versions(P, "m").await.unwrap();
    assert_eq!(left.iter().map(|one| one.version).collect::<Vec<_>>(), [1, 2, 4, 6, 7, 8]);
    for (version, there) in [(2, true), (3, false), (5, false), (8, true)] {
        let path = fixture.dir.path().join(format!("data/artifacts/{P}/m/{version}/bundle.json"));
        assert_eq!(path.exists(), there, "{version}");
    }
}
