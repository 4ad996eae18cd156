//! `fledgling chat`: turn after turn with one model. What has been read stays in the cache, so that a turn costs what is new.

use std::io::{BufRead as _, IsTerminal as _};
use std::rc::Rc;

use serde_json::{Value, json};

use super::args::{ChatArgs, Cli};
use super::{interrupt, load};
use fledgling::adapters::AdapterChoice;
use fledgling::generate::{Event, FinishReason, GenerateOptions, Generator};
use fledgling::models::LoadOptions;
use fledgling::{Error, Result};

const HELP: &str = "\
/reset            forgets the conversation
/system [TEXT]    another system message (none without a text), and forgets the conversation
/adapter [NAME]   answers with that adapter (without a name: shows which there are; none: the model alone)
/help             this list
/exit             ends (Ctrl-D, too); Ctrl-C ends an answer";

struct Chat {
    generator: Generator,
    options: GenerateOptions,
    system: Option<String>,
    messages: Vec<Value>,
}

pub async fn run(cli: &Cli, a: &ChatArgs) -> Result<()> {
    let options = a.sampling.options(1)?;
    let mask = load::mask(&a.mask, a.adapter.iter())?;
    let how = LoadOptions { kv_cache_dtype: a.cache.kv_cache_dtype, quantize: a.quantize, mask, ..LoadOptions::default() };
    let loaded = load::model(cli, &a.model, how, false).await?;
    // A model that cannot chat says so before anybody writes.
    loaded.model.model.config().need_decoder("a chat")?;
    loaded.model.tokenizer()?.chat_template()?;
    for folder in a.adapter.iter().rev() {
        load::activate(&loaded.model, Some(folder))?;
    }
    note!("{} on {}; /help lists what there is", loaded.model.info.name, loaded.exec.info().name);
    let mut chat = Chat { generator: Generator::new(Rc::new(loaded.model))?, options, system: a.system.clone(), messages: Vec::new() };
    chat.reset();
    let asks = std::io::stdin().is_terminal();
    interrupt::watch("");
    interrupt::unwatch();
    for line in std::iter::from_fn(|| next_line(asks)) {
        let line = line?;
        let line = line.trim();
        if let Some(command) = line.strip_prefix('/') {
            if !chat.command(command) {
                break;
            }
        } else if !line.is_empty()
            && let Err(e) = chat.turn(line).await
        {
            // The turn is taken back: another one may go well.
            chat.messages.pop();
            let ends = matches!(e, Error::DeviceLost(_) | Error::Gpu { .. });
            if ends || !asks {
                return Err(e);
            }
            let hint = if matches!(e, Error::ContextOverflow { .. }) { " (/reset begins anew)" } else { "" };
            note!("fledgling: error[{}]: {e}{hint}", e.code());
        }
    }
    Ok(())
}

/// The next line of standard input; none at its end.
fn next_line(asks: bool) -> Option<Result<String>> {
    if asks {
        say_part!("> ");
    }
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) => None,
        Ok(_) => Some(Ok(line)),
        Err(e) => Some(Err(Error::Io { path: "standard input".into(), message: e.to_string() })),
    }
}

impl Chat {
    fn reset(&mut self) {
        self.messages = self.system.iter().map(|s| json!({"role": "system", "content": s})).collect();
        self.generator.reset();
    }

    /// False where it ends the program.
    fn command(&mut self, command: &str) -> bool {
        let (name, rest) = command.split_once(char::is_whitespace).map_or((command, ""), |(name, rest)| (name, rest.trim()));
        match name {
            "exit" | "quit" | "bye" => return false,
            "reset" => self.reset(),
            "system" => {
                self.system = Some(rest.to_string()).filter(|s| !s.is_empty());
                self.reset();
            }
            "adapter" => self.adapter(rest),
            "help" => say!("{HELP}"),
            other => note!("/{other} is not known\n{HELP}"),
        }
        true
    }

    fn adapter(&mut self, name: &str) {
        let adapters = &self.generator.loaded().adapters;
        let set = match name {
            "" => Ok(()),
            "none" => adapters.set_active(None),
            name => adapters.set_active(Some(name)),
        };
        if let Err(e) = set {
            note!("fledgling: error[{}]: {e}", e.code());
        }
        let active = adapters.active();
        let shown = |name: &str| if active.as_deref() == Some(name) { format!("* {name}") } else { format!("  {name}") };
        adapters.list().iter().for_each(|a| say!("{}", shown(&a.name)));
        say!("{}", if active.is_none() { "* none" } else { "  none" });
    }

    async fn turn(&mut self, text: &str) -> Result<()> {
        self.messages.push(json!({"role": "user", "content": text}));
        let prompt = self.generator.loaded().tokenizer()?.encode_chat(&self.messages, true)?;
        self.generator.start(&prompt, GenerateOptions { adapter: AdapterChoice::Active, ..self.options.clone() })?;
        let abort = self.generator.abort_flag();
        interrupt::again();
        let answered = self.answer(&abort).await;
        interrupt::unwatch();
        say!();
        let (text, reason) = answered?;
        if reason == FinishReason::Length {
            note!("(ends at its longest: --max-new-tokens, or the model's context)");
        }
        self.messages.push(json!({"role": "assistant", "content": text}));
        Ok(())
    }

    async fn answer(&mut self, abort: &std::cell::Cell<bool>) -> Result<(String, FinishReason)> {
        while let Some(events) = self.generator.step().await? {
            for e in events {
                if let Event::Text { text, .. } = e {
                    say_part!("{text}");
                }
            }
            if interrupt::asked() {
                abort.set(true);
            }
        }
        let answer = self.generator.finish().await?.into_iter().next();
        let answer = answer.ok_or_else(|| Error::Busy("no answer came".into()))?;
        Ok((answer.text, answer.finish_reason))
    }
}
