//! What the requests of `vertex::deployment` mean, and what is wrong with wrong ones.

use axum::http::Method;
use platform::Kind;

use super::*;

fn deploy(body: &Value) -> Result<Deploy, Error> {
    let path = "/v1/projects/p/locations/l/endpoints/e:deployModel";
    deploy_request(&Address::parse(&Method::POST, path).unwrap(), body.to_string().as_bytes())
}

#[test]
fn a_deployment_as_googles_sdk_asks_for_it() {
    let body = json!({
        "deployedModel": {
            "model": "projects/p/locations/l/models/m@1",
            "dedicatedResources": {
                "machineSpec": {"machineType": "n1-standard-4", "acceleratorType": 0},
                "minReplicaCount": 1,
                "maxReplicaCount": 2,
            },
            "disableContainerLogging": true,
        },
        "trafficSplit": {"0": 100},
    });
    let request = deploy(&body).unwrap();
    assert_eq!((request.endpoint.as_str(), request.model.as_str()), ("e", "m@1"));
    assert_eq!(request.resources.machine_type.as_deref(), Some("n1-standard-4"));
    assert_eq!(request.traffic_split, Some(BTreeMap::from([("0".to_owned(), 100)])));
}

#[test]
fn resources_may_be_given_directly_and_an_empty_split_means_unchanged() {
    let body = json!({"deployedModel": {"model": "m", "id": "7", "cpuCores": 0.5, "memoryGb": 4}, "trafficSplit": {}});
    let request = deploy(&body).unwrap();
    assert_eq!((request.resources.cpu_cores, request.resources.memory_gb), (Some(0.5), Some(4.0)));
    assert_eq!((request.deployment_id.as_deref(), request.traffic_split), (Some("7"), None));
}

#[test]
fn a_wrong_deployment_names_the_field() {
    let with = |extra: Value| {
        let mut deployed = json!({"model": "m"});
        deployed.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"deployedModel": deployed})
    };
    let machine = |spec: Value| with(json!({"dedicatedResources": {"machineSpec": spec}}));
    let cases = [
        (json!({}), "deployedModel"),
        (json!({"deployedModel": {}}), "deployedModel.model"),
        (json!({"deployedModel": {"model": "projects/p/locations/l/endpoints/m"}}), "deployedModel.model"),
        (json!({"deployedModel": {"model": "projects/q/locations/l/models/m"}}), "deployedModel.model"),
        (with(json!({"cpuCores": "two"})), "deployedModel.cpuCores"),
        (with(json!({"cpus": 2})), "deployedModel.cpus"),
        (
            machine(json!({"acceleratorType": 5})),
            "deployedModel.dedicatedResources.machineSpec.acceleratorType",
        ),
        (
            machine(json!({"acceleratorType": "NVIDIA_TESLA_T4"})),
            "deployedModel.dedicatedResources.machineSpec.acceleratorType",
        ),
        (
            with(json!({"dedicatedResources": {"minReplicaCount": 2}})),
            "deployedModel.dedicatedResources.minReplicaCount",
        ),
        (
            with(json!({"dedicatedResources": {"minReplicaCount": 0}})),
            "deployedModel.dedicatedResources.minReplicaCount",
        ),
        (
            with(json!({"automaticResources": {"minReplicaCount": -1}})),
            "deployedModel.automaticResources.minReplicaCount",
        ),
        (
            with(json!({"automaticResources": {"minReplicaCount": 3}})),
            "deployedModel.automaticResources.minReplicaCount",
        ),
        (json!({"deployedModel": {"model": "m"}, "trafficSplit": {"0": 101}}), "trafficSplit"),
        (json!({"deployedModel": {"model": "m"}, "trafficSplit": {"0": "all"}}), "trafficSplit"),
    ];
    for (body, field) in cases {
        let error = deploy(&body).unwrap_err();
        assert_eq!(error.violations().first().map(|v| v.field.as_str()), Some(field), "{error}");
    }
    assert_eq!(deploy(&with(json!({"sharedResources": "pool"}))).unwrap_err().kind(), Kind::Unimplemented);
}

#[test]
fn an_undeployment_needs_its_id() {
    let request = undeploy_request(br#"{"deployedModelId": "7", "trafficSplit": {"8": 100}}"#).unwrap();
    assert_eq!((request.id.as_str(), request.traffic_split.unwrap()["8"]), ("7", 100));
    let Err(error) = undeploy_request(b"{}") else { panic!("an id is needed") };
    assert_eq!(error.violations()[0].field, "deployedModelId");
}

fn mutate(body: &Value) -> Result<Mutate, Error> {
    mutate_request(body.to_string().as_bytes())
}

#[test]
fn a_change_as_googles_sdk_asks_for_it() {
    let body = json!({
        "deployedModel": {
            "id": "7",
            "model": "projects/p/locations/l/models/m@1",
            "dedicatedResources": {
                "machineSpec": {"machineType": "n1-standard-4"},
                "minReplicaCount": 1,
                "maxReplicaCount": 3,
            },
        },
        "updateMask": "dedicatedResources.minReplicaCount,dedicated_resources.max_replica_count",
    });
    let Mutate { id, change } = mutate(&body).unwrap();
    assert_eq!((id.as_str(), change), ("7", Redeploy::default()));
    let masked = |mask: Value| {
        let mut body = body.clone();
        body["updateMask"] = mask;
        mutate(&body).unwrap().change.resources.machine_type
    };
    for mask in [
        json!("dedicatedResources"),
        json!("dedicated_resources.machine_spec"),
        json!("dedicatedResources.machineSpec.machineType, disableContainerLogging"),
        json!(null),
    ] {
        assert_eq!(masked(mask.clone()).as_deref(), Some("n1-standard-4"), "{mask}");
    }
}

#[test]
fn what_is_ours_is_changed_too() {
    let change = json!({"id": "7", "cpuCores": 3, "memoryGb": 0.5, "load": "on-demand", "shadowPercent": 0});
    let found = mutate(&json!({"deployedModel": change})).unwrap().change;
    assert_eq!((found.resources.cpu_cores, found.resources.memory_gb), (Some(3.0), Some(0.5)));
    assert_eq!((found.shadow_percent, found.residence), (Some(0), Some(Residence::OnDemand)));
    let masked = json!({"deployedModel": change, "updateMask": "cpuCores"});
    let found = mutate(&masked).unwrap().change;
    assert_eq!((found.resources.memory_gb, found.shadow_percent, found.residence), (None, None, None));
}

#[test]
fn a_wrong_change_names_the_field() {
    let with = |extra: Value| {
        let mut deployed = json!({"id": "7"});
        deployed.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"deployedModel": deployed})
    };
    for (body, field) in [
        (json!({}), "deployedModel"),
        (json!({"deployedModel": {}}), "deployedModel.id"),
        (with(json!({"load": "lazy"})), "deployedModel.load"),
        (with(json!({"shadowPercent": 101})), "deployedModel.shadowPercent"),
        (with(json!({"size": 1})), "deployedModel.size"),
        (
            with(json!({"dedicatedResources": {"minReplicaCount": 2}})),
            "deployedModel.dedicatedResources.minReplicaCount",
        ),
        (json!({"deployedModel": {"id": "7"}, "updateMask": "model"}), "updateMask"),
    ] {
        let error = mutate(&body).map(|found| found.id).unwrap_err();
        assert_eq!(error.violations()[0].field, field, "{error}");
    }
}

#[test]
fn a_shadow_and_when_it_is_loaded_are_asked_for_at_deployment() {
    let body = json!({"deployedModel": {"model": "m", "shadowPercent": 20, "load": "on-demand"}});
    let standing = deploy(&body).unwrap().standing;
    assert_eq!((standing.shadow_percent, standing.residence), (Some(20), Residence::OnDemand));
    let plain = deploy(&json!({"deployedModel": {"model": "m", "shadowPercent": 0}})).unwrap().standing;
    assert_eq!(plain, Standing::default());
}
