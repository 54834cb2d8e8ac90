//! The resource's definition and its objects, as the API server and people with older objects see
//! them.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use operator::crd::v1alpha1::VariantAutoscaling;
use serde_json::{Value, json};

fn printed(args: &[&str]) -> String {
    let output = Command::cargo_bin("plimsoll-operator").unwrap().args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_chart_ships_the_definition_that_the_types_give() {
    let path = "charts/workload-variant-autoscaler/crds/llmd.ai_variantautoscalings.yaml";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let shipped = fs::read_to_string(root.join(path)).unwrap();
    assert!(shipped == printed(&["crd"]), "{path} is out of date; run: make crds");
}

#[test]
fn the_definition_has_the_names_that_clients_use() {
    let definition: Value = serde_json::from_str(&printed(&["crd", "--format", "json"])).unwrap();
    let version = &definition["spec"]["versions"][0];
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["name"].as_str().unwrap())
        .collect();

    assert_eq!(definition["metadata"]["name"], "variantautoscalings.llmd.ai");
    assert_eq!(definition["spec"]["scope"], "Namespaced");
    assert_eq!(definition["spec"]["names"]["shortNames"], json!(["va"]));
    assert_eq!(version["name"], "v1alpha1");
    assert_eq!(version["subresources"], json!({ "status": {} }));
    assert_eq!(
        columns,
        ["Target", "Model", "Accelerator", "CurrentReplicas", "Optimized", "MetricsReady", "Age"]
    );
}

#[test]
fn no_field_may_be_null() {
    assert!(!printed(&["crd"]).contains("nullable"));
}

/// An object of the 0.4 releases comes back as it was, and gets none of our additions.
#[test]
fn an_older_object_reads_and_writes_unchanged() {
    let stored = json!({
        "apiVersion": "llmd.ai/v1alpha1",
        "kind": "VariantAutoscaling",
        "metadata": {
            "name": "chat-h100",
            "namespace": "serving",
            "labels": { "inference.optimization/acceleratorName": "H100" },
        },
        "spec": {
            "modelID": "meta-llama/Llama-3.1-8B",
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "chat" },
            "variantCost": "40.5",
            "modelProfile": {
                "accelerators": [{
                    "acc": "H100",
                    "accCount": 1,
                    "maxBatchSize": 64,
                    "perfParms": {
                        "decodeParms": { "alpha": "6.958", "beta": "0.042" },
                        "prefillParms": { "gamma": "5.2", "delta": "0.1" },
                    },
                }],
            },
        },
        "status": {
            "currentAlloc": {
                "accelerator": "H100",
                "numReplicas": 1,
                "maxBatch": 256,
                "variantCost": "40.50",
                "itlAverage": "7.10",
                "ttftAverage": "21.00",
                "load": {
                    "arrivalRate": "60.00",
                    "avgInputTokens": "128.00",
                    "avgOutputTokens": "256.00",
                },
            },
            "desiredOptimizedAlloc": {
                "lastRunTime": "2025-12-18T09:30:00Z",
                "accelerator": "H100",
                "numReplicas": 2,
            },
            "actuation": { "applied": true },
            "conditions": [{
                "type": "MetricsAvailable",
                "status": "True",
                "reason": "MetricsFound",
                "message": "all replicas answer",
                "lastTransitionTime": "2025-12-18T09:29:00Z",
                "observedGeneration": 1,
            }],
        },
    });

    let object: VariantAutoscaling = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), stored);
}

#[test]
fn a_spec_may_name_no_more_than_its_model_and_target() {
    let object: VariantAutoscaling = serde_json::from_value(json!({
        "apiVersion": "llmd.ai/v1alpha1",
        "kind": "VariantAutoscaling",
        "metadata": { "name": "chat-h100" },
        "spec": {
            "modelID": "meta-llama/Llama-3.1-8B",
            "scaleTargetRef": { "kind": "Deployment", "name": "chat" },
        },
    }))
    .unwrap();

    assert_eq!(object.spec.variant_cost, "10.0");
    assert!(!object.spec.shadow);
    assert_eq!(object.status, None);
}
