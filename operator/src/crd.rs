//! The `VariantAutoscaling` resource: its wire types, its definition, and the way to and from the
//! types that the operator works with.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;

pub mod v1alpha1;

pub mod condition;

pub mod convert;

/// Label of a `VariantAutoscaling` that names the accelerator its replicas run on, such as `H100`.
pub const ACCELERATOR_LABEL: &str = "inference.optimization/acceleratorName";

/// The resource's definition, as the chart ships it.
pub fn definition() -> CustomResourceDefinition {
    let mut definition = v1alpha1::VariantAutoscaling::crd();
    for version in &mut definition.spec.versions {
        if let Some(schema) = version.schema.as_mut().and_then(|s| s.open_api_v3_schema.as_mut()) {
            forbid_null(schema);
        }
    }
    definition
}

/// Takes `nullable` off a schema and everything in it.
///
/// The derive marks each optional field as nullable. With null allowed, a CEL rule that has asked
/// whether a field is there must ask again whether it is null. Where null is not allowed, the API
/// server prunes it, and an optional field is either there or absent.
fn forbid_null(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut()) {
        forbid_null(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => forbid_null(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(forbid_null),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &mut schema.additional_properties {
        forbid_null(value);
    }
}
