//! Judges of the command line: rules, and programs that speak JSON lines.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use fledgling::tune::rewards::{RULES, RewardBatch, RewardSource, Rule, Scored};
use fledgling::{Error, Result};
use serde_json::Value;

/// The help of `--reward`: every rule with its parameters.
pub fn help() -> String {
    let mut out =
        "A rule that rewards sampled completions; may be given several times (see --reward-weights). name:parameter=value,…, a comma in a \
                   value as \\,:"
            .to_string();
    for rule in RULES {
        let parameters = rule.parameters.iter().map(|p| format!("{} ({})", p.name, p.help)).collect::<Vec<_>>().join("; ");
        let behind = if rule.parameters.is_empty() { "PATTERN".to_string() } else { parameters };
        out += &format!("\n{}: {behind}. {}", rule.name, rule.help);
    }
    out
}

/// As its rewards are logged.
const NAME: &str = "command";

/// A program that is asked by one line of JSON for every batch (`prompts, completions, completion_ids, columns`) and answers with one line: a list with a
/// number for each completion.
struct Process {
    command: String,
    limit: Duration,
    running: Option<(Child, Receiver<String>)>,
}

impl Process {
    fn start(&mut self) -> std::io::Result<(Child, Receiver<String>)> {
        let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
        let mut child = Command::new(shell).arg(flag).arg(&self.command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (send, lines) = channel();
        if let Some(out) = child.stdout.take() {
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines() {
                    let Ok(line) = line else { break };
                    if send.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Ok((child, lines))
    }

    /// Asks once; a program that failed is started anew the next time.
    fn ask(&mut self, batch: &RewardBatch) -> Result<Vec<f64>> {
        let failed = |message: String| batch.fault(NAME, 0, message);
        let (mut child, lines) = match self.running.take() {
            Some(running) => running,
            None => self.start().map_err(|e| batch.fault(NAME, 0, format!("did not start: {e}")))?,
        };
        let mut line = batch.json().to_string();
        line.push('\n');
        // A program that reads nothing must not keep us: the pipe may be full.
        let (back, sent) = channel();
        if let Some(mut stdin) = child.stdin.take() {
            std::thread::spawn(move || {
                if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_ok() {
                    let _ = back.send(stdin);
                }
            });
        }
        let answer = lines.recv_timeout(self.limit);
        let line = match answer {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(failed(format!("gave no answer within {} s (--reward-timeout)", self.limit.as_secs_f64())));
            }
            Err(RecvTimeoutError::Disconnected) => {
                let _ = child.kill();
                let status = child.wait().map_or_else(|e| e.to_string(), |s| s.to_string());
                return Err(failed(format!("ended without an answer ({status})")));
            }
        };
        match sent.recv_timeout(Duration::from_secs(1)) {
            Ok(stdin) => {
                child.stdin = Some(stdin);
                self.running = Some((child, lines));
            }
            // It answered without having read: the next batch goes to another one.
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        let numbers = |v: &Value| match v {
            // What no JSON can say: Judges names its row.
            Value::Null => Some(f64::NAN),
            v => v.as_f64(),
        };
        match serde_json::from_str(&line) {
            Ok(Value::Array(list)) => match list.iter().position(|v| numbers(v).is_none()) {
                None => Ok(list.iter().filter_map(numbers).collect()),
                Some(i) => Err(batch.fault(NAME, i, format!("gave {} for a completion, expected a number", list[i]))),
            },
            Ok(other) => {
                let index = other["index"].as_u64().map_or(0, |i| i as usize);
                let said = other["error"].as_str().map_or_else(|| format!("gave {other}, expected a list of numbers"), str::to_string);
                Err(batch.fault(NAME, index, said))
            }
            Err(e) => Err(failed(format!("gave a line that is not JSON: {e}"))),
        }
    }
}

impl RewardSource for Process {
    fn name(&self) -> &str {
        NAME
    }

    fn reads_text(&self) -> bool {
        false
    }

    fn score<'a>(&'a mut self, batch: &'a RewardBatch) -> Scored<'a> {
        let values = self.ask(batch);
        Box::pin(std::future::ready(values))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some((mut child, _)) = self.running.take() {
            // It reads the end of its input.
            drop(child.stdin.take());
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The judges that options name, in their order: rules, then programs.
pub fn judges(rules: &[String], commands: &[String], seconds: f64) -> Result<Vec<Box<dyn RewardSource>>> {
    if !(seconds > 0.0 && seconds < 1e9) {
        return Err(Error::config("reward-timeout", format!("is {seconds}, expected seconds above 0")));
    }
    let mut all: Vec<Box<dyn RewardSource>> = Vec::new();
    for rule in rules {
        all.push(Box::new(Rule::parse(rule)?));
    }
    for command in commands {
        all.push(Box::new(Process { command: command.clone(), limit: Duration::from_secs_f64(seconds), running: None }));
    }
    Ok(all)
}
