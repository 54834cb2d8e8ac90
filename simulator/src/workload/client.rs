//! Who sends requests, and as what.

use optimizer::slo::Slo;

use super::{ArrivalProcess, JointLengths, RateProfile, SessionShape, SharedText, Users};

/// A sender of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its name, unique among the clients of a model.
    pub name: String,
    /// The class of its requests.
    pub class: ServiceClass,
    /// On whose behalf it sends them.
    pub tenant: Option<String>,
}

impl Default for Client {
    /// The one client of a model that has no other.
    fn default() -> Self {
        Self { name: "default".to_owned(), class: ServiceClass::default(), tenant: None }
    }
}

/// How requests are served, and what is promised to those who send them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceClass {
    /// Its name, unique among the classes of a model.
    pub name: String,
    /// With the scheduling policy `priority`: lower is served first.
    pub priority: i32,
    /// Its targets; those of the model when there are none.
    pub slo: Option<Slo>,
}

impl Default for ServiceClass {
    fn default() -> Self {
        Self { name: "default".to_owned(), priority: 0, slo: None }
    }
}

/// What a client sends, and when.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// What drives it.
    pub pace: Pace,
    /// Tokens of a request, or of a turn; without what is shared and what was said before.
    pub lengths: JointLengths,
    /// What every prompt, or every session, begins with.
    pub shared: Vec<SharedText>,
    /// Whether requests come in sessions, and in which.
    pub session: Option<SessionShape>,
    /// Whether single requests are cut to what [`Workload::limit_context`] says. Sessions always
    /// keep to it.
    ///
    /// [`Workload::limit_context`]: super::Workload::limit_context
    pub fit_context: bool,
}

/// What drives a client.
#[derive(Debug, Clone, PartialEq)]
pub enum Pace {
    /// Time: requests, or sessions, begin whatever the server does.
    Open {
        /// When they begin.
        process: ArrivalProcess,
        /// How their rate rises and falls.
        profile: RateProfile,
    },
    /// Answers: so many users wait for one before they ask again.
    Closed(Users),
}

/// Where a request comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The client, as a position in [`Workload::clients`](super::Workload::clients).
    pub client: u32,
    /// Its session, if it has one, by the order in which those of the client began.
    pub session: Option<u64>,
}
