//! What `json show top` answers, as values.
//!
//! ```text
//! {"by":"rate","states":2,"packets":..,"octets":..,"uptimeMilliseconds":..}     first, once
//! {"interface":"em0","proto":"tcp",...,"id":"..","creatorid":"..","rate":..}    a state a line
//! ```
//! Addresses become addresses and numbers numbers; what stays text keeps printable ASCII only,
//! because it goes to a terminal. What is missing or wrong makes the answer an error that names the
//! member.

use std::net::IpAddr;

use serde_json::Value;

use crate::output::words::Endpoint;
use crate::state::StateId;

/// A whole answer.
#[derive(Clone, Debug, Default)]
pub(super) struct TopAnswer {
    pub(super) totals: Totals,
    /// The daemon's uptime: of a replay it is the capture's, which goes at another speed.
    pub(super) uptime_millis: i64,
    pub(super) states: Vec<ShownState>,
}

/// What all states that match have in sum.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Totals {
    pub(super) states: u64,
    pub(super) packets: u64,
    pub(super) octets: u64,
}

/// A state.
#[derive(Clone, Debug)]
pub(super) struct ShownState {
    pub(super) id: StateId,
    pub(super) interface: String,
    pub(super) proto: String,
    pub(super) direction: String,
    /// Who began, before translation.
    pub(super) source: Endpoint,
    /// An end that is translated: its address and port on the other side.
    pub(super) gateway: Option<Endpoint>,
    /// Whom it reaches, after translation.
    pub(super) destination: Endpoint,
    pub(super) timeout: String,
    pub(super) age: u64,
    pub(super) silent: u64,
    pub(super) ends_in: u64,
    pub(super) is_overdue: bool,
    pub(super) quality: String,
    pub(super) packets: u64,
    pub(super) octets: u64,
    pub(super) sender: String,
    /// Octets a second, the average over the age.
    pub(super) rate: u64,
}

impl TopAnswer {
    /// Parses the lines of an answer.
    ///
    /// # Errors
    /// What is missing or wrong in which line.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let lines = text.split(|octet| *octet == b'\n');
        let mut lines = lines.filter(|line| !line.is_empty()).enumerate();
        let wrong =
            |at: usize, problem: String| format!("line {} of the answer: {problem}", at + 1);
        let first = lines.next().ok_or("the answer is empty")?.1;
        let head = Members::parse(first).map_err(|problem| wrong(0, problem))?;
        let mut answer = head.answer().map_err(|problem| wrong(0, problem))?;
        for (at, line) in lines {
            let state = Members::parse(line).and_then(|members| members.state());
            answer
                .states
                .push(state.map_err(|problem| wrong(at, problem))?);
        }
        Ok(answer)
    }
}

/// Text with all but printable ASCII replaced.
pub(super) fn printable(text: &str) -> String {
    let shown = |c: char| if matches!(c, ' '..='~') { c } else { '?' };
    text.chars().map(shown).collect()
}

/// The members of an object.
struct Members(serde_json::Map<String, Value>);

impl Members {
    fn parse(line: &[u8]) -> Result<Self, String> {
        match serde_json::from_slice(line) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            Ok(_) => Err("no object".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn get<'a, T>(
        &'a self,
        name: &str,
        take: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<T, String> {
        let value = self.0.get(name).ok_or_else(|| format!("no {name}"))?;
        take(value).ok_or_else(|| format!("{name} is not what it should be"))
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.get(name, Value::as_u64)
    }

    fn text(&self, name: &str) -> Result<String, String> {
        self.get(name, Value::as_str).map(printable)
    }

    fn truth(&self, name: &str) -> Result<bool, String> {
        self.get(name, Value::as_bool)
    }

    fn sum(&self, name: &str) -> Result<u64, String> {
        self.get(name, |value| {
            let [one, other] = value.as_array()?.as_slice() else {
                return None;
            };
            Some(one.as_u64()?.saturating_add(other.as_u64()?))
        })
    }

    fn hex(&self, name: &str) -> Result<u64, String> {
        self.get(name, |value| u64::from_str_radix(value.as_str()?, 16).ok())
    }

    fn answer(&self) -> Result<TopAnswer, String> {
        Ok(TopAnswer {
            totals: Totals {
                states: self.number("states")?,
                packets: self.number("packets")?,
                octets: self.number("octets")?,
            },
            uptime_millis: self.get("uptimeMilliseconds", Value::as_i64)?,
            states: Vec::new(),
        })
    }

    /// The ends of a key as pf has them: at 0 who began in, at 1 who began out.
    fn ends(&self, name: &str) -> Result<[Endpoint; 2], String> {
        self.get(name, |key| {
            let end = |at: usize| {
                let ip: IpAddr = key.get("addresses")?.get(at)?.as_str()?.parse().ok()?;
                let port = key.get("ports")?.get(at)?.as_u64()?;
                let port = u16::try_from(port).ok()?;
                Some(Endpoint { ip, port })
            };
            Some([end(0)?, end(1)?])
        })
    }

    fn state(&self) -> Result<ShownState, String> {
        let direction = self.text("direction")?;
        let wire = self.ends("wire")?;
        let stack = match self.0.contains_key("stack") {
            true => self.ends("stack")?,
            false => wire,
        };
        // In both, the initiator's end first.
        let (before, after) = match direction.as_str() {
            "in" => (wire, stack),
            _ => {
                let reversed = |[one, other]: [Endpoint; 2]| [other, one];
                (reversed(stack), reversed(wire))
            }
        };
        let ([source, asked], [seen, destination]) = (before, after);
        let gateway = match (seen != source, asked != destination) {
            (true, _) => Some(seen),
            (false, true) => Some(asked),
            (false, false) => None,
        };
        let creatorid = self.hex("creatorid")?;
        Ok(ShownState {
            id: StateId {
                id: self.hex("id")?,
                creatorid: u32::try_from(creatorid).map_err(|_| "creatorid is too long")?,
            },
            interface: self.text("interface")?,
            proto: self.text("proto")?,
            direction,
            source,
            gateway,
            destination,
            timeout: self.text("timeout")?,
            age: self.number("age")?,
            silent: self.number("silent")?,
            ends_in: self.number("endsIn")?,
            is_overdue: self.truth("overdue")?,
            quality: self.text("quality")?,
            packets: self.sum("packets")?,
            octets: self.sum("octets")?,
            sender: self.text("sender")?,
            rate: self.number("rate")?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const HEAD: &str =
        r#"{"by":"rate","states":7,"packets":9,"octets":900,"uptimeMilliseconds":5000}"#;

    /// A state's line: `out`, translated by the firewall if there is a `stack`.
    fn line(direction: &str, wire: &str, stack: Option<&str>) -> String {
        let stack = stack.map_or(String::new(), |key| format!(r#""stack":{key},"#));
        format!(
            r#"{{"interface":"em0","proto":"tcp","direction":"{direction}","wire":{wire},{stack}
               "timeout":"tcp.established","age":10,"silent":1,"endsIn":60,"overdue":false,
               "pflow":true,"quality":"exact","packets":[1,2],"octets":[100,200],
               "id":"00000000000000ff","creatorid":"0000002a","sender":"10.0.0.2","rate":30}}"#
        )
        .replace('\n', " ")
    }

    fn key(zero: &str, one: &str) -> String {
        format!(r#"{{"family":"inet","addresses":["{zero}","{one}"],"ports":[80,5000]}}"#)
    }

    fn parse(lines: &[&str]) -> Result<TopAnswer, String> {
        TopAnswer::parse(lines.join("\n").as_bytes())
    }

    #[test]
    fn ends_are_told_from_before_and_behind_translation() {
        let shown = |direction, wire: &str, stack: Option<&str>| {
            let answer = parse(&[HEAD, &line(direction, wire, stack)]).unwrap();
            let state = &answer.states[0];
            let gateway = state.gateway.map(|end| end.ip.to_string());
            (
                state.source.ip.to_string(),
                gateway,
                state.destination.ip.to_string(),
            )
        };
        let ends = |source: &str, gateway: Option<&str>, destination: &str| {
            (
                source.to_owned(),
                gateway.map(str::to_owned),
                destination.to_owned(),
            )
        };
        // Out: what is in the stack came from inside, nat-to makes it another on the wire.
        let (wire, stack) = (
            key("192.0.2.1", "198.51.100.9"),
            key("192.0.2.1", "10.0.0.5"),
        );
        let nat = ends("10.0.0.5", Some("198.51.100.9"), "192.0.2.1");
        assert_eq!(shown("out", &wire, Some(&stack)), nat);
        let plain = ends("198.51.100.9", None, "192.0.2.1");
        assert_eq!(shown("out", &wire, None), plain);
        // In: what is on the wire was asked for, rdr-to makes it another in the stack.
        let (wire, stack) = (
            key("192.0.2.1", "198.51.100.9"),
            key("192.0.2.1", "10.0.0.5"),
        );
        let rdr = ends("192.0.2.1", Some("198.51.100.9"), "10.0.0.5");
        assert_eq!(shown("in", &wire, Some(&stack)), rdr);
    }

    #[test]
    fn an_answer_is_values_or_an_error_that_names_the_member() {
        let good = line("out", &key("192.0.2.1", "10.0.0.5"), None);
        let answer = parse(&[HEAD, &good]).unwrap();
        assert_eq!((answer.totals.states, answer.uptime_millis), (7, 5000));
        let state = &answer.states[0];
        assert_eq!((state.packets, state.octets, state.rate), (3, 300, 30));
        assert_eq!((state.id.id, state.id.creatorid), (255, 42));
        for (from, to, problem) in [
            (r#""age":10,"#, "", "line 2 of the answer: no age"),
            (
                r#""age":10"#,
                r#""age":-1"#,
                "line 2 of the answer: age is not what it should be",
            ),
            (
                "[1,2]",
                "[1]",
                "line 2 of the answer: packets is not what it should be",
            ),
            (
                "10.0.0.5",
                "host",
                "line 2 of the answer: wire is not what it should be",
            ),
            (
                "0000002a",
                "10000002a",
                "line 2 of the answer: creatorid is too long",
            ),
        ] {
            let bad = good.replace(from, to);
            assert_eq!(parse(&[HEAD, &bad]).unwrap_err(), problem);
        }
        assert_eq!(parse(&[]).unwrap_err(), "the answer is empty");
        assert!(
            parse(&["{"])
                .unwrap_err()
                .starts_with("line 1 of the answer: EOF")
        );
        assert_eq!(
            parse(&["[]"]).unwrap_err(),
            "line 1 of the answer: no object"
        );
    }

    #[test]
    fn text_off_the_wire_keeps_printable_ascii_only() {
        let wire = key("192.0.2.1", "10.0.0.5");
        let bad = line("out", &wire, None).replace("em0", "\\u001b[2J\\u009b\u{202e}x");
        let answer = parse(&[HEAD, &bad]).unwrap();
        assert_eq!(answer.states[0].interface, "?[2J??x");
    }
}
