//! What the requests of `vertex::endpoint` mean, and what is wrong with wrong ones.

use super::*;

use platform::Kind;

fn create(id: Option<&str>, body: &Value) -> Result<CreateEndpoint, Error> {
    let parent = Parent { project: "p".to_owned(), location: "l".to_owned() };
    create_request(&parent, id.map(str::to_owned), body.to_string().as_bytes())
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
