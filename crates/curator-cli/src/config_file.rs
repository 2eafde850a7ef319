//! `--config FILE`: flags from a TOML file. Flags on the command line win.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use curator_core::Error;

use crate::{Failure, Program};

/// Appends the flags of the file named by `--config`, except those that are already given.
///
/// # Errors
/// When the file cannot be read, is no TOML, or has nested tables.
pub(crate) fn expand<P: Program>(mut arguments: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let Some(path) = path_in(&arguments) else { return Ok(arguments) };
    let path = Path::new(&path);
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| Error::damaged(path, "TOML", e.message()))?;
    let accepted = flags_of::<P>(&arguments);
    for (key, value) in table {
        let flag = format!("--{}", key.replace('_', "-"));
        if !accepted.contains_key(&flag) {
            return Err(Error::damaged(path, "keys that are flags of this command", key).into());
        }
        let given = |a: &OsString| {
            a.to_str().is_some_and(|a| a == flag || a.starts_with(&format!("{flag}=")))
        };
        if arguments.iter().any(given) {
            continue;
        }
        // A flag of several values takes them one after the other, once.
        if let (Some(count), toml::Value::Array(values)) = (accepted[&flag], &value)
            && count > 1
        {
            let texts: Option<Vec<&str>> = values.iter().map(toml::Value::as_str).collect();
            let texts = texts.filter(|texts| texts.len() == count).ok_or_else(|| {
                Error::damaged(path, format!("`{flag}` with a list of {count} texts"), &value)
            })?;
            arguments.push(flag.into());
            arguments.extend(texts.into_iter().map(OsString::from));
            continue;
        }
        let values = match value {
            toml::Value::Array(values) => values,
            one => vec![one],
        };
        for value in values {
            match value {
                toml::Value::Boolean(true) => arguments.push(flag.clone().into()),
                toml::Value::Boolean(false) => {}
                toml::Value::String(text) => arguments.push(format!("{flag}={text}").into()),
                toml::Value::Table(_) | toml::Value::Array(_) => {
                    return Err(Error::damaged(path, "flat `flag = value` lines", flag).into());
                }
                other => arguments.push(format!("{flag}={other}").into()),
            }
        }
    }
    Ok(arguments)
}

fn path_in(arguments: &[OsString]) -> Option<OsString> {
    arguments.iter().enumerate().find_map(|(i, argument)| {
        let text = argument.to_str()?;
        match text.strip_prefix("--config") {
            Some("") => arguments.get(i + 1).cloned(),
            Some(rest) => rest.strip_prefix('=').map(OsString::from),
            None => None,
        }
    })
}

/// All long flags of the subcommand that is called, and how many values each takes at least.
fn flags_of<P: Program>(arguments: &[OsString]) -> BTreeMap<String, Option<usize>> {
    let mut command = P::command();
    command.build();
    let called = arguments.iter().skip(1).find_map(|a| command.find_subcommand(a.to_str()?));
    called
        .unwrap_or(&command)
        .get_arguments()
        .filter_map(|a| {
            let count = a.get_num_args().map(|range| range.min_values());
            Some((format!("--{}", a.get_long()?), count))
        })
        .collect()
}
