//! Versions beside each other that do not take the same questions: refused before anything is loaded.

use std::collections::BTreeMap;

use platform::{Deploy, EndpointUpdate, Kind, Redeploy, Residence, Standing};

use crate::fixture::{Fixture, Form, P, SMALL, deploy};

/// As a shadow of all requests.
fn shadow(id: &str, model: &str) -> Deploy {
    let standing = Standing { shadow_percent: Some(100), residence: Residence::Pinned };
    Deploy { standing, traffic_split: None, ..deploy("e", id, model) }
}

fn shares(shares: &[(&str, u8)]) -> BTreeMap<String, u8> {
    shares.iter().map(|(id, share)| ((*id).to_owned(), *share)).collect()
}

fn traffic(of: &[(&str, u8)]) -> EndpointUpdate {
    EndpointUpdate { traffic_split: Some(shares(of)), ..EndpointUpdate::default() }
}

async fn with_models() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.upload("m", SMALL).await;
    for (model, form) in [
        ("renamed", Form { input: "rows", ..Form::default() }),
        ("wider", Form { columns: 3, ..Form::default() }),
        ("other-output", Form { output: "z", ..Form::default() }),
        ("more-classes", Form { classes: 3, ..Form::default() }),
    ] {
        fixture.upload_of(model, SMALL, &form).await;
    }
    fixture.endpoint("e").await;
    fixture
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_could_answer_no_copy_is_refused() {
    let fixture = with_models().await;
    fixture.deploy("e", "1", "m").await.unwrap();
    let of_m = "deployment 1 (m@1) answers, which takes x float32 [batch, 2] and gives y float32 [batch, 2]";
    for (model, takes) in [
        ("renamed", "takes rows float32 [batch, 2] and gives y float32 [batch, 2]"),
        ("wider", "takes x float32 [batch, 3] and gives y float32 [batch, 2]"),
        ("other-output", "takes x float32 [batch, 2] and gives z float32 [batch, 2]"),
        ("more-classes", "takes x float32 [batch, 2] and gives y float32 [batch, 3]"),
    ] {
        let refused = fixture.platform.deploy(shadow("2", model)).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::InvalidArgument, "{refused}");
        assert_eq!(refused.violations()[0].field, "shadowPercent");
        let said = refused.to_string();
        assert!(
            said.contains(takes) && said.contains(of_m) && said.contains("endpoint of its own"),
            "{said}"
        );
        // Without traffic it may stand beside it, but not become a shadow.
        let beside = Deploy { traffic_split: None, ..deploy("e", "2", model) };
        fixture.platform.deploy(beside).await.unwrap();
        let change = Redeploy { shadow_percent: Some(5), ..Redeploy::default() };
        let refused = fixture.platform.redeploy(P, "e", "2", change).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::InvalidArgument, "{refused}");
        fixture.platform.undeploy(P, "e", "2", None).await.unwrap();
    }
    assert_eq!(fixture.platform.list_operations(P).await.unwrap(), [], "none was begun");
    fixture.platform.deploy(shadow("2", "m")).await.unwrap();
    assert_eq!(fixture.platform.deployment_status(P, "e", "2").unwrap().state(), "shadow of 100 %");
    // One with a percent of its own does not count as answering.
    fixture.platform.deploy(shadow("3", "wider")).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_of_nothing_is_accepted_and_holds_up_nobody() {
    let fixture = with_models().await;
    fixture.platform.deploy(shadow("2", "wider")).await.unwrap();
    fixture.deploy("e", "1", "m").await.unwrap();
    assert_eq!(fixture.ask("e").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_is_not_divided_between_versions_that_take_other_inputs() {
    let fixture = with_models().await;
    fixture.deploy("e", "1", "m").await.unwrap();
    let split = Some(shares(&[("0", 10), ("1", 90)]));
    let greedy = Deploy { traffic_split: split.clone(), ..deploy("e", "2", "wider") };
    let refused = fixture.platform.deploy(greedy).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.violations()[0].field.as_str()),
        (Kind::InvalidArgument, "trafficSplit")
    );
    let said = refused.to_string();
    assert!(
        said.contains("[batch, 3]") && said.contains("[batch, 2]") && said.contains("all of it"),
        "{said}"
    );
    // One takes the place of the other, and back.
    fixture.platform.deploy(Deploy { traffic_split: None, ..deploy("e", "2", "wider") }).await.unwrap();
    let refused =
        fixture.platform.update_endpoint(P, "e", traffic(&[("1", 50), ("2", 50)])).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::InvalidArgument, "{refused}");
    fixture.platform.update_endpoint(P, "e", traffic(&[("2", 100)])).await.unwrap();
    fixture.platform.update_endpoint(P, "e", traffic(&[("1", 100)])).await.unwrap();
    assert_eq!(fixture.ask("e").await.unwrap(), 1);
    // Rows have no names where they are asked by instances, and other outputs are for whoever asks to see.
    for (id, model) in [("3", "renamed"), ("4", "more-classes")] {
        fixture
            .platform
            .deploy(Deploy { traffic_split: split.clone(), ..deploy("e", id, model) })
            .await
            .unwrap();
        fixture.platform.update_endpoint(P, "e", traffic(&[("1", 100)])).await.unwrap();
    }
    assert_eq!(fixture.platform.list_operations(P).await.unwrap(), [], "none was begun");
}
