//! An ordered environment: `NAME=VALUE`, each name once.

use std::collections::HashMap;

/// Variables in the order in which they were first set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Environment {
    variables: Vec<(String, String)>,
    /// Where each name stands: a stranger's Dockerfile or base image may have any number of them.
    places: HashMap<String, usize>,
}

impl Environment {
    /// An empty environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// The environment of an image's configuration, `NAME=VALUE` each.
    pub fn from_config(entries: &[String]) -> Self {
        let mut environment = Self::new();
        for entry in entries {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            environment.set(name, value);
        }
        environment
    }

    /// The value of `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.variables.get(*self.places.get(name)?)?;
        Some(value)
    }

    /// Sets `name`, where it stands if it is there.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.places.get(name).and_then(|place| self.variables.get_mut(*place)) {
            Some((_, old)) => value.clone_into(old),
            None => {
                self.places.insert(name.to_owned(), self.variables.len());
                self.variables.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The environment in an image configuration's form.
    pub fn to_config(&self) -> Vec<String> {
        self.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_keeps_its_place_when_it_changes() {
        let mut environment = Environment::from_config(&["A=1".into(), "B=x=y".into(), "C".into()]);
        environment.set("A", "2");
        environment.set("D", "");
        assert_eq!(environment.to_config(), ["A=2", "B=x=y", "C=", "D="]);
        assert_eq!(environment.get("B"), Some("x=y"));
        assert_eq!(environment.get("Z"), None);
    }
}
