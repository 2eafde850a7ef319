//! JSON Schema as far as the description uses it. What it does not know it refuses, so that nothing is
//! described which is not checked. Objects may have described properties only.

use serde_json::Value;

const KNOWN: [&str; 13] = [
    "$ref",
    "type",
    "required",
    "properties",
    "items",
    "enum",
    "oneOf",
    "description",
    "format",
    "minimum",
    "maximum",
    "additionalProperties",
    "prefixItems",
];

pub(super) fn check(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let Some(keys) = schema.as_object() else { return Err(format!("no schema: {schema}")) };
    if let Some(unknown) = keys.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("`{unknown}` is not known here"));
    }
    if let Some(at) = schema["$ref"].as_str() {
        let target = root.pointer(at.trim_start_matches('#'));
        return check(root, target.ok_or(format!("{at} leads nowhere"))?, value);
    }
    if let Some(others) = schema["oneOf"].as_array() {
        let found: Vec<_> = others.iter().map(|other| check(root, other, value)).collect();
        return match found.iter().filter(|result| result.is_ok()).count() {
            1 => Ok(()),
            fitting => Err(format!("{fitting} of `oneOf` fit: {found:?}")),
        };
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        _ => false,
    };
    if !types.is_empty() && !types.iter().any(|name| is(name)) {
        return Err(format!("{value} is no {types:?}"));
    }
    if let Some(names) = schema["enum"].as_array()
        && !names.contains(value)
    {
        return Err(format!("{value} is none of {names:?}"));
    }
    if let Some(array) = value.as_array() {
        for (number, item) in array.iter().enumerate() {
            match (&schema["items"], &schema["prefixItems"][number]) {
                (_, own) if own.is_object() => check(root, own, item)?,
                (all, _) if all.is_object() => check(root, all, item)?,
                _ => {}
            }
        }
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        object.get(name).ok_or(format!("`{name}` is missing"))?;
    }
    let Some(properties) = schema["properties"].as_object() else { return Ok(()) };
    for (name, value) in object {
        match properties.get(name) {
            Some(own) => check(root, own, value).map_err(|e| format!("`{name}`: {e}"))?,
            None if schema["additionalProperties"] == true => {}
            None => return Err(format!("`{name}` is not described")),
        }
    }
    Ok(())
}
