//! What the requests of `vertex::endpoint` mean, and what is wrong with wrong ones.

use axum::http::Method;
use platform::Kind;

use super::*;

fn deploy(body: &Value) -> Result<Deploy, Error> {
    let path = "/v1/projects/p/locations/l/endpoints/e:deployModel";
    deploy_request(&Address::parse(&Method::POST, path).unwrap(), body.to_string().as_bytes())
}

fn create(id: Option<&str>, body: &Value) -> Result<CreateEndpoint, Error> {
    let parent = Parent { project: "p".to_owned(), location: "l".to_owned() };
    create_request(&parent, id.map(str::to_owned), body.to_string().as_bytes())
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
fn an_endpoint_is_named_by_its_id_or_display_name() {
    let request =
        create(Some("e1"), &json!({"labels": {"a": "b"}, "dedicatedEndpointEnabled": false})).unwrap();
    assert_eq!((request.id.as_deref(), request.display_name.as_str()), (Some("e1"), "e1"));
    assert_eq!(create(None, &json!({"displayName": "E"})).unwrap().id, None);
    assert_eq!(create(None, &json!({})).unwrap_err().violations()[0].field, "displayName");
    let encrypted = json!({"displayName": "E", "encryptionSpec": {"kmsKeyName": "k"}});
    assert_eq!(create(None, &encrypted).unwrap_err().kind(), Kind::Unimplemented);
}

#[test]
fn an_undeployment_needs_its_id() {
    let request = undeploy_request(br#"{"deployedModelId": "7", "trafficSplit": {"8": 100}}"#).unwrap();
    assert_eq!((request.id.as_str(), request.traffic_split.unwrap()["8"]), ("7", 100));
    let Err(error) = undeploy_request(b"{}") else { panic!("an id is needed") };
    assert_eq!(error.violations()[0].field, "deployedModelId");
}
