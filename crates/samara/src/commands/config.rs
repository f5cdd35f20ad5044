//! `samara config`: every option, its value, and where the value comes from.

use super::Context;
use crate::args::ConfigArgs;
use crate::exit::{Exit, Failure};
use crate::output::clean;
use crate::settings::{KEYS, Origin, env_name};
use serde_json::json;

/// Prints the options, or a file to begin with.
pub(crate) fn run(args: &ConfigArgs, context: &Context) -> Result<Exit, Failure> {
    let (out, loaded) = (context.out, &context.loaded);
    if args.template {
        let lines =
            KEYS.iter().map(|key| format!("# {}\n# {} = {}\n", key.doc, key.name, key.example));
        out.line(lines.collect::<Vec<_>>().join("\n").trim_end())?;
        return Ok(Exit::Done);
    }
    if out.json {
        for (key, origin) in KEYS.iter().zip(&loaded.origins) {
            let (kind, place) = match origin {
                Origin::Default => ("default", None),
                Origin::File(path) => ("file", Some(path.display().to_string())),
                Origin::Env(name) => ("env", Some(name.clone())),
            };
            let value = (key.show)(&loaded.settings);
            out.object(
                "setting",
                json!({ "key": key.name, "value": value, "origin": kind, "from": place }),
            )?;
        }
        return Ok(Exit::Done);
    }
    let values: Vec<String> =
        KEYS.iter().map(|k| clean(&(k.show)(&loaded.settings)).into_owned()).collect();
    let name_width = KEYS.iter().map(|k| k.name.len()).max().unwrap_or(0);
    let value_width = values.iter().map(|v| v.chars().count()).max().unwrap_or(0).min(40);
    for ((key, value), origin) in KEYS.iter().zip(&values).zip(&loaded.origins) {
        let origin_text = match origin {
            Origin::Default => out.style.dim(origin.to_string()),
            _ => out.style.cyan(origin.to_string()),
        };
        out.line(format_args!(
            "{:name_width$}  {:value_width$}  {origin_text}",
            key.name,
            out.style.bold(value),
        ))?;
    }
    if let Some(file) = &loaded.file {
        let state = if loaded.file_found { "" } else { " (not there)" };
        out.note(out.err_style.dim(format!(
            "\nfile: {}{state}\nenvironment: {} and so on; each option is described by samara config --template",
            file.display(),
            env_name(KEYS[0].name),
        )));
    }
    Ok(Exit::Done)
}
