//! Options that outlive one command: from `samara.toml`, from `SAMARA_*`, else the default.
//!
//! The layers are, weakest first: default, file, environment. The command line stands above them; each command
//! applies its own arguments to the [`Settings`] it is given. A key that nobody knows is refused, with the nearest
//! known one; an unknown variable only warns, because the environment belongs to others too.

mod hours;
mod keys;

pub(crate) use hours::Hours;
pub(crate) use keys::{KEYS, is_endpoint, number};

use crate::args::{ColorWhen, Encryption, Limit};
use crate::exit::{Exit, Failure};
use crate::suggest;
use samara_engine::wire::proxy::ProxyUrl;
use samara_engine::{Bind, Egress};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILE_NAME: &str = "samara.toml";
const ENV_PREFIX: &str = "SAMARA_";
/// Names the configuration file; no option of its own.
const ENV_FILE: &str = "SAMARA_CONFIG";

/// Resolved options.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Settings {
    /// Where downloads go.
    pub(crate) output: PathBuf,
    /// Port to listen on; `None`: the usual one, or any if it is taken.
    pub(crate) port: Option<u16>,
    /// Addresses and interfaces to listen on and connect from; empty: all.
    pub(crate) bind: Vec<Bind>,
    /// What everything goes through.
    pub(crate) proxy: Option<ProxyUrl>,
    /// Whether datagrams go through it, too.
    pub(crate) proxy_udp: bool,
    /// Take part in the DHT.
    pub(crate) dht: bool,
    /// Nodes to join it by; empty: the public ones.
    pub(crate) dht_nodes: Vec<String>,
    /// Bytes per second.
    pub(crate) limit_down: Option<u64>,
    /// Bytes per second.
    pub(crate) limit_up: Option<u64>,
    /// Whether peers of the local network are limited, too.
    pub(crate) limit_local: bool,
    /// Whether headers of IP and TCP count.
    pub(crate) limit_overhead: bool,
    /// Bytes per second at the hours of `alt_schedule`; `None`: as at others.
    pub(crate) alt_limit_down: Option<Limit>,
    /// The same for what is sent.
    pub(crate) alt_limit_up: Option<Limit>,
    /// When those hold.
    pub(crate) alt_schedule: Option<Hours>,
    /// Connections in all.
    pub(crate) max_peers: usize,
    /// Connections of one torrent.
    pub(crate) max_peers_per_torrent: usize,
    /// Connections that are being set up.
    pub(crate) max_half_open: usize,
    /// Lists of addresses to have nothing to do with.
    pub(crate) ip_filter: Vec<PathBuf>,
    /// Which connections are encrypted.
    pub(crate) encryption: Encryption,
    /// Threads that serve connections.
    pub(crate) network_threads: usize,
    /// Peers by TCP.
    pub(crate) tcp: bool,
    /// Peers by uTP.
    pub(crate) utp: bool,
    /// Local service discovery.
    pub(crate) lsd: bool,
    /// Ask the router to let peers connect.
    pub(crate) port_mapping: bool,
    /// Where resume data is kept; `None` where the system has no such place.
    pub(crate) state_dir: Option<PathBuf>,
    /// Reserve the whole space of a download first.
    pub(crate) preallocate: bool,
    /// Fetch pieces in order.
    pub(crate) sequential: bool,
    /// Seed a finished download up to this ratio.
    pub(crate) seed_ratio: Option<f64>,
    /// Seed a finished download for this long.
    pub(crate) seed_time: Option<Duration>,
    /// Colours.
    pub(crate) color: ColorWhen,
}

impl Default for Settings {
    fn default() -> Self {
        let state_dir = directories::ProjectDirs::from("", "", "samara")
            .map(|dirs| dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir()).to_owned());
        Self {
            output: PathBuf::from("."),
            port: None,
            bind: Vec::new(),
            proxy: None,
            proxy_udp: true,
            dht: true,
            dht_nodes: Vec::new(),
            limit_down: None,
            limit_up: None,
            limit_local: false,
            limit_overhead: false,
            alt_limit_down: None,
            alt_limit_up: None,
            alt_schedule: None,
            max_peers: 500,
            max_peers_per_torrent: 100,
            max_half_open: 50,
            ip_filter: Vec::new(),
            encryption: Encryption::default(),
            network_threads: 1,
            tcp: true,
            utp: true,
            lsd: true,
            port_mapping: true,
            state_dir,
            preallocate: false,
            sequential: false,
            seed_ratio: None,
            seed_time: None,
            color: ColorWhen::Auto,
        }
    }
}

impl Settings {
    /// How packets leave this machine: from what the command line says, else from what the settings say.
    pub(crate) fn egress(&self, given: &[Bind]) -> Egress {
        let bind = if given.is_empty() { &self.bind } else { given };
        Egress { bind: bind.to_vec(), proxy: self.proxy.clone(), proxy_udp: self.proxy_udp }
    }
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// Built in.
    Default,
    /// The configuration file.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => path.display().fmt(f),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

/// Options with the origin of each.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// The values.
    pub(crate) settings: Settings,
    /// Parallel to [`KEYS`].
    pub(crate) origins: Vec<Origin>,
    /// The file looked for, if the system has a place for it.
    pub(crate) file: Option<PathBuf>,
    /// Whether it was there.
    pub(crate) file_found: bool,
    /// What looks wrong, for the user.
    pub(crate) warnings: Vec<String>,
}

/// Reads all layers. `chosen` is the file named on the command line; `env` gives the environment.
///
/// # Errors
/// If a chosen file cannot be read, a key is unknown, or a value is not valid: a usage error that says where.
pub(crate) fn load(
    chosen: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded, Failure> {
    let env: Vec<_> = env.into_iter().filter(|(name, _)| name.starts_with(ENV_PREFIX)).collect();
    let named = chosen.map(Path::to_owned).or_else(|| {
        env.iter()
            .find(|(name, value)| name == ENV_FILE && !value.is_empty())
            .map(|(_, v)| v.into())
    });
    let must_exist = named.is_some();
    let file = named.or_else(|| {
        directories::ProjectDirs::from("", "", "samara").map(|d| d.config_dir().join(FILE_NAME))
    });
    let mut loaded = Loaded {
        settings: Settings::default(),
        origins: vec![Origin::Default; KEYS.len()],
        file: file.clone(),
        file_found: false,
        warnings: Vec::new(),
    };
    if let Some(path) = file {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                loaded.file_found = true;
                loaded.apply_file(&path, &text)?;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound && !must_exist => {}
            Err(e) => return Err(Failure { exit: Exit::Usage, ..Failure::io("read", &path, &e) }),
        }
    }
    loaded.apply_env(&env)?;
    Ok(loaded)
}

impl Loaded {
    fn apply_file(&mut self, path: &Path, text: &str) -> Result<(), Failure> {
        let wrong = |what: String| Failure::new(Exit::Usage, format!("{}: {what}", path.display()));
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| wrong(e.to_string().trim_end().to_owned()))?;
        for (name, value) in &table {
            let Some(at) = position(name) else {
                let failure = wrong(format!("unknown option `{name}`"));
                return Err(failure.hint(did_you_mean(name)));
            };
            let text = written(value)
                .ok_or_else(|| wrong(format!("`{name}` must be one value, not a table")))?;
            (KEYS[at].set)(&mut self.settings, &text)
                .map_err(|e| wrong(format!("option `{name}`: {e}")))?;
            self.origins[at] = Origin::File(path.to_owned());
        }
        Ok(())
    }

    fn apply_env(&mut self, env: &[(String, String)]) -> Result<(), Failure> {
        for (name, value) in
            env.iter().filter(|(name, value)| name != ENV_FILE && !value.is_empty())
        {
            let key = name[ENV_PREFIX.len()..].to_ascii_lowercase();
            let Some(at) = position(&key) else {
                if let Some(near) =
                    suggest::nearest(&key.replace('_', "-"), KEYS.iter().map(|k| k.name))
                {
                    let near = env_name(near);
                    self.warnings
                        .push(format!("${name} is no option of samara; did you mean ${near}?"));
                }
                continue;
            };
            (KEYS[at].set)(&mut self.settings, value)
                .map_err(|e| Failure::new(Exit::Usage, format!("${name}: {e}")))?;
            self.origins[at] = Origin::Env(name.clone());
        }
        Ok(())
    }
}

/// The variable that sets the option `key`.
pub(crate) fn env_name(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('-', "_").to_ascii_uppercase())
}

/// `limit_down` and `limit-down` name the same option.
fn position(name: &str) -> Option<usize> {
    let name = name.replace('_', "-");
    KEYS.iter().position(|k| k.name == name)
}

fn did_you_mean(name: &str) -> String {
    match suggest::nearest(&name.replace('_', "-"), KEYS.iter().map(|k| k.name)) {
        Some(near) => format!("did you mean `{near}`? All options: samara config"),
        None => "all options: samara config".to_owned(),
    }
}

/// A TOML value as it would be typed on the command line.
fn written(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(s) => Some(s.clone()),
        toml::Value::Integer(n) => Some(n.to_string()),
        toml::Value::Float(n) => Some(n.to_string()),
        toml::Value::Boolean(b) => Some(b.to_string()),
        toml::Value::Array(items) => {
            Some(items.iter().map(written).collect::<Option<Vec<_>>>()?.join(","))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
