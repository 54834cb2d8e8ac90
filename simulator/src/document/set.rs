//! Overrides: `--set path=value`.

use std::sync::Arc;

use serde_json::Value;

use super::Document;
use super::parse::{self, Places, Spot};
use super::path::{FieldPath, Segment, parse_index};
use super::place::{Place, Source};
use super::problem::{Problem, Problems, shown};

/// What the source of an override is called in reports.
const NAME: &str = "--set";

impl Document {
    /// Sets a field, as `--set` on the command line does: `models[0].slo.ttft=2s`.
    ///
    /// An element of a list is named by `[0]` or `.0`. The right side is YAML, so `[1, 2]` is a
    /// list and `"3"` a text. Maps that are missing on the way are made. A list is not grown: its
    /// elements are set one by one, or it is set as a whole.
    ///
    /// In reports, the place of what was set is in the assignment itself, under the name `--set`.
    ///
    /// # Errors
    /// No assignment; a path through a value that has no fields, or to an element that a list does
    /// not have; a right side that is not YAML. The document is then as before.
    pub fn set(&mut self, assignment: &str) -> Result<(), Problems> {
        self.set_by(NAME, assignment)
    }

    /// As [`set`](Self::set), for a flag that stands for an assignment. Reports call its source
    /// `flag`.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn set_by(&mut self, flag: &str, assignment: &str) -> Result<(), Problems> {
        let source = Arc::new(Source {
            name: flag.to_owned(),
            text: assignment.to_owned(),
            rank: self.overrides + 1,
        });
        // A name may hold a `=` in quotes, so the path ends at the first `=` that leaves a path.
        let (path, equals) = assignment
            .match_indices('=')
            .find_map(|(at, _)| Some((assignment[..at].parse::<FieldPath>().ok()?, at)))
            .filter(|(path, _)| !path.is_root())
            .ok_or_else(|| {
                let message = "expected path=value, such as models[0].slo.ttft=2s";
                let place = Place::new(&source, 0..assignment.len());
                Problem::new(FieldPath::root(), None, message, place)
            })?;
        let named = Place::new(&source, 0..equals);
        let route = self.route(&path, &named)?;
        let (value, places) = parse::parse(&source, equals + 1, &route.path)?;
        self.overrides += 1;
        self.put(route, value, named, places);
        Ok(())
    }

    /// Finds out whether `path` can be set before anything changes.
    fn route(&self, path: &FieldPath, named: &Place) -> Result<Route, Problem> {
        let problem = |path: FieldPath, value: Option<&Value>, message: String| {
            Problem::new(path, value.map(shown), message, named.clone())
        };
        let mut route = Route { path: FieldPath::root(), existing: 0 };
        let mut node = Some(&self.tree);
        for segment in path.segments() {
            let step = match (node, segment) {
                (Some(Value::Array(elements)), segment) => {
                    let index = match segment {
                        Segment::Index(index) => Some(*index),
                        Segment::Key(name) => parse_index(name),
                    };
                    let Some(index) = index else {
                        let message =
                            format!("expected a map, to set `{}` in it", path_of(segment));
                        return Err(problem(route.path, node, message));
                    };
                    if index >= elements.len() {
                        let message =
                            format!("expected an element that the list of {} has", elements.len());
                        return Err(problem(route.path.index(index), None, message));
                    }
                    Segment::Index(index)
                }
                // A field that was left empty counts as missing.
                (None | Some(Value::Null | Value::Object(_)), Segment::Key(_)) => segment.clone(),
                (_, segment) => {
                    let kind = if matches!(segment, Segment::Index(_)) { "list" } else { "map" };
                    let message = format!("expected a {kind}, to set `{}` in it", path_of(segment));
                    return Err(problem(route.path, node, message));
                }
            };
            if matches!(node, Some(Value::Array(_) | Value::Object(_))) {
                route.existing = route.path.segments().len();
            }
            route.path = route.path.child(step);
            node = route.path.find(&self.tree);
        }
        Ok(route)
    }

    fn put(&mut self, route: Route, value: Value, named: Place, places: Places) {
        let Route { path, existing } = route;
        let replaced: Vec<FieldPath> = (self.places.range(&path..))
            .map(|(place, _)| place)
            .take_while(|place| place.is_within(&path))
            .cloned()
            .collect();
        for place in replaced {
            self.places.remove(&place);
        }
        let mut node = &mut self.tree;
        let mut here = FieldPath::root();
        for segment in path.segments() {
            // Maps from here on are made by this assignment, and so is their place.
            if here.segments().len() > existing {
                let spot = Spot { key: Some(named.clone()), value: named.clone() };
                self.places.insert(here.clone(), spot);
            }
            here = here.child(segment.clone());
            node = match segment {
                Segment::Index(index) => &mut node[*index],
                // Indexing makes the entry, and a map of a null.
                Segment::Key(name) => &mut node[name.as_str()],
            };
        }
        *node = value;
        self.places.extend(places);
        if let Some(spot) = self.places.get_mut(&path) {
            spot.key = matches!(path.segments().last(), Some(Segment::Key(_))).then_some(named);
        }
    }
}

/// A path that can be set.
struct Route {
    /// The path, with each element of a list as an index.
    path: FieldPath,
    /// How many steps lead to the last map or list on the way that is there already.
    existing: usize,
}

fn path_of(segment: &Segment) -> FieldPath {
    FieldPath::root().child(segment.clone())
}

#[cfg(test)]
mod tests {

    use serde_json::json;

    use super::*;

    const TEXT: &str = "seed: 7\nempty:\nmodels:\n- name: a\n  slo: {ttft: 2s}\n";

    /// Checks the value at the path of `assignment` once it is set, and the place of it.
    #[track_caller]
    fn check(assignment: &str, path: &str, value: &Value, place: &str) {
        let mut document = Document::parse("x.yaml", TEXT).unwrap();
        document.set(assignment).unwrap();
        let path: FieldPath = path.parse().unwrap();
        assert_eq!(path.find(document.tree()), Some(value), "for {assignment}");
        let found = document.place(&path);
        assert_eq!(format!("{found} {}", found.text()), place, "for {assignment}");
    }

    /// Checks the problem that `assignment` gives, and that it changes nothing.
    #[track_caller]
    fn check_refused(assignment: &str, problem: &str) {
        let mut document = Document::parse("x.yaml", TEXT).unwrap();
        let before = document.clone();
        assert_eq!(document.set(assignment).unwrap_err().to_string(), problem);
        assert_eq!(document.tree, before.tree);
        assert_eq!(format!("{:?}", document.places), format!("{:?}", before.places));
    }

    #[test]
    fn values_are_yaml_and_have_their_place_in_the_assignment() {
        check("seed=3", "seed", &json!(3), "--set:1:6 3");
        check("seed='3'", "seed", &json!("3"), "--set:1:6 '3'");
    }

    #[test]
    fn lists_take_an_index_in_either_form() {
        check("models[0].slo.ttft=5s", "models[0].slo.ttft", &json!("5s"), "--set:1:20 5s");
        check("models.0.name=b", "models[0].name", &json!("b"), "--set:1:15 b");
        check("models=[x, {y: z}]", "models[1].y", &json!("z"), "--set:1:16 z");
    }

    #[test]
    fn missing_maps_are_made() {
        check("a.b.c=1", "a", &json!({"b": {"c": 1}}), "--set:1:1 a.b.c");
        check("empty.b=1", "empty", &json!({"b": 1}), "--set:1:1 empty.b");
        check(
            "models[0].slo.tpot=1s",
            "models[0].slo",
            &json!({"ttft": "2s", "tpot": "1s"}),
            "x.yaml:5:8 {ttft: 2s}",
        );
        check(r#""a=b".c=d=e"#, r#""a=b".c"#, &json!("d=e"), "--set:1:9 d=e");
    }

    #[test]
    fn what_was_replaced_leaves_no_place_behind() {
        let mut document = Document::parse("x.yaml", TEXT).unwrap();
        document.set("models=[{}]").unwrap();
        let ttft = "models[0].slo.ttft".parse().unwrap();
        assert_eq!(document.place(&ttft).to_string(), "--set:1:9");
        document.set("models[0].name=b").unwrap();
        assert_eq!(document.place(&"models[0].name".parse().unwrap()).text(), "b");
    }

    #[test]
    fn bad_assignments_change_nothing() {
        let form = "--set:1:1: expected path=value, such as models[0].slo.ttft=2s";
        for assignment in ["seed", "seed = 3", "=3", "seed: 3", "a..b=3", ""] {
            check_refused(assignment, form);
        }
        for (assignment, problem) in [
            ("seed=", "1:6: seed: expected a value, and there is none"),
            ("seed=.inf", "1:6: seed: .inf — expected a finite number"),
            ("models[1].name=x", "1:1: models[1]: expected an element that the list of 1 has"),
            ("models.x=3", "1:1: models: a list — expected a map, to set `x` in it"),
            ("seed.x=3", "1:1: seed: 7 — expected a map, to set `x` in it"),
            ("seed[0]=3", "1:1: seed: 7 — expected a list, to set `[0]` in it"),
            ("a.b[0]=3", "1:1: a.b: expected a list, to set `[0]` in it"),
        ] {
            check_refused(assignment, &format!("--set:{problem}"));
        }
    }
}
