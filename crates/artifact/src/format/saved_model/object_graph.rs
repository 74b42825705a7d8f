//! The objects that `tf.saved_model.load` makes: a root with the variables and the map of signatures; and the
//! twin of that graph which the checkpoint carries.

use std::collections::BTreeMap;

use protos::tensorflow::trackable_object_graph::{TrackableObject, trackable_object};
use protos::tensorflow::{
    DictValue, SavedBareConcreteFunction, SavedConcreteFunction, SavedObject, SavedObjectGraph,
    SavedUserObject, SavedVariable, StructuredValue, TensorSpecProto, TrackableObjectGraph, TupleValue,
    VersionDef, saved_object, structured_value,
};

use super::plan::{Plan, Port};
use super::proto::{data_type, fixed_shape, spec_shape};
use super::{FUNCTION, SIGNATURE};

/// Objects in order: the root, the variables, the map of signatures, the function.
pub(super) fn saved(plan: &Plan) -> SavedObjectGraph {
    let signatures = plan.variables.len() + 1;
    let mut root = user_object("_generic_user_object");
    root.children = variable_children(plan);
    root.children.push(child(signatures, "signatures"));
    let mut nodes = vec![root];
    nodes.extend(plan.variables.iter().map(|variable| SavedObject {
        kind: Some(saved_object::Kind::Variable(SavedVariable {
            dtype: data_type(variable.tensor.data_type()).into(),
            shape: Some(fixed_shape(variable.tensor.shape())),
            trainable: true,
            name: variable.name.clone(),
            ..SavedVariable::default()
        })),
        ..SavedObject::default()
    }));
    let mut map = user_object("signature_map");
    map.children = vec![child(signatures + 1, SIGNATURE)];
    nodes.push(map);
    nodes.push(SavedObject {
        kind: Some(saved_object::Kind::BareConcreteFunction(SavedBareConcreteFunction {
            concrete_function_name: FUNCTION.to_owned(),
            argument_keywords: plan.inputs.iter().map(|input| input.spec.name.clone()).collect(),
            allowed_positional_arguments: i64::from(plan.inputs.len() == 1),
            function_spec: None,
        })),
        ..SavedObject::default()
    });
    SavedObjectGraph { nodes, concrete_functions: BTreeMap::from([(FUNCTION.to_owned(), concrete(plan))]) }
}

fn concrete(plan: &Plan) -> SavedConcreteFunction {
    let keywords = plan.inputs.iter().map(|input| (input.spec.name.clone(), spec(input))).collect();
    let arguments = structured_value::Kind::TupleValue(TupleValue {
        values: vec![
            structured(structured_value::Kind::TupleValue(TupleValue { values: vec![] })),
            structured(structured_value::Kind::DictValue(DictValue { fields: keywords })),
        ],
    });
    let results = plan.outputs.iter().map(|output| (output.spec.name.clone(), spec(output)));
    let results = structured_value::Kind::DictValue(DictValue { fields: results.collect() });
    SavedConcreteFunction {
        bound_inputs: (1..=plan.variables.len()).map(|id| id as i32).collect(),
        canonicalized_input_signature: Some(structured(arguments)),
        output_signature: Some(structured(results)),
    }
}

fn structured(kind: structured_value::Kind) -> StructuredValue {
    StructuredValue { kind: Some(kind) }
}

fn spec(port: &Port) -> StructuredValue {
    structured(structured_value::Kind::TensorSpecValue(TensorSpecProto {
        name: port.argument.clone(),
        shape: Some(spec_shape(&port.spec)),
        dtype: data_type(port.spec.dtype).into(),
    }))
}

fn user_object(identifier: &str) -> SavedObject {
    let version = VersionDef { producer: 1, min_consumer: 1, bad_consumers: vec![] };
    SavedObject {
        kind: Some(saved_object::Kind::UserObject(SavedUserObject {
            identifier: identifier.to_owned(),
            version: Some(version),
            ..SavedUserObject::default()
        })),
        ..SavedObject::default()
    }
}

/// The checkpoint's own graph: where each variable's value is found.
pub(super) fn checkpoint(plan: &Plan) -> TrackableObjectGraph {
    let root = TrackableObject {
        children: variable_children(plan),
        has_checkpoint_values: Some(true),
        ..TrackableObject::default()
    };
    let mut nodes = vec![root];
    nodes.extend(plan.variables.iter().map(|variable| TrackableObject {
        attributes: vec![trackable_object::SerializedTensor {
            name: "VARIABLE_VALUE".to_owned(),
            full_name: variable.name.clone(),
            checkpoint_key: variable.checkpoint_key(),
        }],
        has_checkpoint_values: Some(true),
        ..TrackableObject::default()
    }));
    TrackableObjectGraph { nodes }
}

fn variable_children(plan: &Plan) -> Vec<trackable_object::ObjectReference> {
    plan.variables.iter().enumerate().map(|(at, variable)| child(at + 1, &variable.attribute)).collect()
}

fn child(node: usize, name: &str) -> trackable_object::ObjectReference {
    trackable_object::ObjectReference { node_id: node as i32, local_name: name.to_owned() }
}
