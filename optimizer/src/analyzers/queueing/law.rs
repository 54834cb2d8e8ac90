//! The law under which a role serves requests.

use crate::observation::Role;
use crate::policy::ServiceLaw;
use crate::queueing::{IterationCosts, PhaseCosts, RequestShape, ServiceModel};
use crate::step_time::StepTime;
use crate::units::{Seconds, Tokens};

/// The law, with its costs, and the request as the role sees it.
///
/// The laws V1 to V2 know whole requests only. A replica of one phase gets V0, which draws a line
/// for each: without output after the first token only the prefill remains of it, and without a
/// prompt only the decode steps.
pub(super) fn model(
    law: ServiceLaw,
    role: Role,
    costs: IterationCosts,
    shape: RequestShape,
    token_budget: Tokens,
) -> (ServiceModel, RequestShape) {
    match role {
        Role::Both => {
            let model = match law {
                ServiceLaw::V0 => ServiceModel::V0(lines(costs, shape)),
                ServiceLaw::V1 => ServiceModel::V1(costs),
                ServiceLaw::V1b => ServiceModel::V1b(costs),
                ServiceLaw::V2 => ServiceModel::V2 { costs, token_budget },
            };
            (model, shape)
        }
        Role::Prefill => {
            let prompt = RequestShape { output: Tokens::new(1), ..shape };
            (ServiceModel::V0(lines(costs, shape)), prompt)
        }
        Role::Decode => {
            // A request with one output token is over before it gets here.
            let output = shape.output.max(Tokens::new(2));
            let answer = RequestShape { input: Tokens::ZERO, output };
            (ServiceModel::V0(lines(costs, shape)), answer)
        }
    }
}

/// The costs of an iteration, from a profile's step time. The law has one cost for a token that is
/// computed: of the profile's two, it takes the mean over the tokens of a request.
pub(super) fn costs(profile: StepTime, shape: RequestShape) -> IterationCosts {
    let (input, output) = (shape.input.as_f64(), shape.output.as_f64());
    let [prompt, sequence] = [profile.per_prompt_token, profile.per_sequence].map(Seconds::value);
    let mean = (prompt * input + sequence * output) / (input + output);
    IterationCosts {
        overhead: profile.overhead,
        compute_per_token: Seconds::checked(mean).unwrap_or(profile.per_sequence),
        read_per_token: profile.per_context_token,
    }
}

/// V0's lines for the same work: a decode step computes a token for each request and reads its
/// context, of which half the output is there on average.
fn lines(costs: IterationCosts, shape: RequestShape) -> PhaseCosts {
    let context = shape.input.as_f64() + f64::midpoint(shape.output.as_f64(), 1.0);
    let per_request = costs.compute_per_token.value() + costs.read_per_token.value() * context;
    PhaseCosts {
        decode_base: costs.overhead,
        decode_per_request: Seconds::checked(per_request).unwrap_or(Seconds::new(f64::MAX)),
        prefill_base: costs.overhead,
        prefill_per_token: costs.compute_per_token + costs.read_per_token,
    }
}
