//! The part of the XML dialplan that fipple's snippets are written in: contexts, extensions, conditions on fields and
//! `${variables}` with regular expressions, actions and anti-actions. Anything else is an error, not a guess.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::pattern::Pattern;
use roxmltree::{Document, Node};

use crate::channel::Uuid;
use crate::dialplan::Action;
use crate::error::Error;
use crate::switch::Switch;

/// Contexts as files under `dialplan/` describe them. A context that is here is hunted before
/// [`Dialplan`](crate::dialplan::Dialplan).
#[derive(Debug, Clone, Default)]
pub struct XmlDialplan {
    contexts: BTreeMap<String, Context>,
    /// Contexts as they are written, by their names.
    texts: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Context {
    extensions: Arc<Vec<Extension>>,
    /// The context is all here: what it does not serve has no route.
    complete: bool,
}

#[derive(Debug, Clone)]
struct Extension {
    continues: bool,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    /// `None` is always true.
    field: Option<String>,
    expression: String,
    breaks: Break,
    actions: Vec<XmlAction>,
    anti_actions: Vec<XmlAction>,
}

/// When the conditions after one are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    OnTrue,
    OnFalse,
    Always,
    Never,
}

#[derive(Debug, Clone)]
struct XmlAction {
    action: Action,
    /// It runs while the dialplan is hunted.
    inline: bool,
}

impl XmlDialplan {
    /// The dialplan that fipple asks an operator to install beside his own: the context of its steps.
    pub fn deployed() -> Self {
        let mut dialplan = Self::default();
        // A test holds that it is well-formed.
        let _ = dialplan.add(include_str!("../../../deploy/freeswitch/fipple_step.xml"), "default");
        dialplan
    }

    /// Adds what a file says. Extensions outside of a context are those of `context`, as in the files that a context's
    /// own file includes.
    pub fn add(&mut self, text: &str, context: &str) -> Result<(), Error> {
        let document = Document::parse(text).map_err(|error| unreadable(error.to_string()))?;
        self.add_children(document.root(), context, false)
    }

    fn add_children(&mut self, node: Node<'_, '_>, context: &str, complete: bool) -> Result<(), Error> {
        for child in node.children().filter(Node::is_element) {
            match child.tag_name().name() {
                "include" | "document" | "section" => self.add_children(child, context, complete)?,
                "context" => {
                    let name = attribute(child, "name");
                    let text = written_context(child.document().input_text(), name);
                    self.texts.insert(name.to_owned(), text);
                    self.add_children(child, name, true)?;
                }
                "extension" => {
                    let context = self.contexts.entry(context.to_owned()).or_default();
                    context.complete |= complete;
                    Arc::make_mut(&mut context.extensions).push(Extension::read(child)?);
                }
                other => return Err(unreadable(format!("the element {other} is not understood"))),
            }
        }
        Ok(())
    }
}

/// The context of this name as it stands in a file.
fn written_context(text: &str, name: &str) -> String {
    let from = text.find(&format!("<context name=\"{name}\"")).and_then(|start| text.get(start..));
    let context = from.and_then(|from| from.split_inclusive("</context>").next());
    format!("{}\n", context.unwrap_or_default())
}

impl Extension {
    fn read(node: Node<'_, '_>) -> Result<Self, Error> {
        known_attributes(node, &["name", "continue"])?;
        let conditions = node.children().filter(Node::is_element).map(Condition::read);
        let conditions = conditions.collect::<Result<_, _>>()?;
        Ok(Self { continues: attribute(node, "continue") == "true", conditions })
    }
}

impl Condition {
    fn read(node: Node<'_, '_>) -> Result<Self, Error> {
        if node.tag_name().name() != "condition" {
            return Err(unreadable(format!("{} in an extension is not understood", node.tag_name().name())));
        }
        known_attributes(node, &["field", "expression", "break"])?;
        let breaks = match attribute(node, "break") {
            "" | "on-false" => Break::OnFalse,
            "on-true" => Break::OnTrue,
            "always" => Break::Always,
            "never" => Break::Never,
            other => return Err(unreadable(format!("break={other} is not understood"))),
        };
        let mut condition = Self {
            field: node.attribute("field").map(str::to_owned),
            expression: attribute(node, "expression").to_owned(),
            breaks,
            actions: Vec::new(),
            anti_actions: Vec::new(),
        };
        for child in node.children().filter(Node::is_element) {
            known_attributes(child, &["application", "data", "inline"])?;
            let data = child.text().filter(|text| !text.trim().is_empty());
            let action = XmlAction {
                action: Action::new(
                    attribute(child, "application"),
                    data.unwrap_or(attribute(child, "data")),
                ),
                inline: attribute(child, "inline") == "true",
            };
            match child.tag_name().name() {
                "action" => condition.actions.push(action),
                "anti-action" => condition.anti_actions.push(action),
                other => return Err(unreadable(format!("{other} in a condition is not understood"))),
            }
        }
        Ok(condition)
    }
}

impl Switch {
    /// `xml_locate dialplan context name <name>`. Of other sections there is nothing here.
    pub(crate) fn api_xml_locate(&self, argument: &str) -> String {
        let words: Vec<_> = argument.split_whitespace().collect();
        let text = match words.as_slice() {
            ["dialplan", "context", "name", name] => self.config.xml_dialplan.texts.get(*name),
            _ => None,
        };
        text.cloned().unwrap_or_else(|| "can't find anything\n".into())
    }

    /// The actions for a channel's destination in its context; `None` if nothing serves it.
    pub(crate) fn hunt(&mut self, uuid: &Uuid) -> Option<Vec<Action>> {
        let profile = self.channels.get(uuid)?.profile.as_ref()?;
        let destination = profile.destination_number.clone();
        let context = self.config.xml_dialplan.contexts.get(&profile.context).cloned();
        if let Some(context) = context {
            let actions = self.hunt_in(uuid, &context.extensions);
            if !actions.is_empty() || context.complete {
                return Some(actions).filter(|actions| !actions.is_empty());
            }
        }
        self.config.dialplan.route(&destination).map(<[Action]>::to_vec)
    }

    fn hunt_in(&mut self, uuid: &Uuid, extensions: &[Extension]) -> Vec<Action> {
        let mut actions = Vec::new();
        for extension in extensions {
            let served = self.try_extension(uuid, extension, &mut actions);
            if served && !extension.continues {
                break;
            }
        }
        actions
    }

    /// Whether an extension serves the channel, by its last condition that was looked at.
    fn try_extension(&mut self, uuid: &Uuid, extension: &Extension, actions: &mut Vec<Action>) -> bool {
        let mut served = false;
        for condition in &extension.conditions {
            let groups = self.match_condition(uuid, condition);
            let chosen = if groups.is_some() { &condition.actions } else { &condition.anti_actions };
            served = groups.is_some() || !chosen.is_empty();
            for chosen in chosen {
                let mut action = chosen.action.clone();
                if let Some(groups) = groups.as_deref().filter(|_| condition.expression.contains('(')) {
                    action.argument = substitute(&action.argument, groups);
                }
                if chosen.inline { self.execute(uuid, action, None) } else { actions.push(action) }
            }
            let stops = match condition.breaks {
                Break::OnTrue => groups.is_some(),
                Break::OnFalse => groups.is_none(),
                Break::Always => true,
                Break::Never => false,
            };
            if stops {
                break;
            }
        }
        served
    }

    /// The groups of a condition's expression, the whole first; `None` if it is not true.
    fn match_condition(&mut self, uuid: &Uuid, condition: &Condition) -> Option<Vec<String>> {
        let Some(field) = &condition.field else { return Some(Vec::new()) };
        let expression = self.expand(uuid, None, &condition.expression);
        let value = if field.contains('$') {
            self.expand(uuid, None, field)
        } else {
            self.channels.get(uuid)?.profile_field(field).unwrap_or_default().to_owned()
        };
        let captures = Pattern::new(&expression)?.captures(&value)?;
        let group = |group: Option<regex_lite::Match<'_>>| group.map(|group| group.as_str().to_owned());
        Some(captures.iter().map(|found| group(found).unwrap_or_default()).collect())
    }
}

/// Replaces `$1` with the first group, and so on.
fn substitute(text: &str, groups: &[String]) -> String {
    let mut substituted = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let number = characters.peek().and_then(|next| next.to_digit(10)).filter(|_| character == '$');
        match number {
            Some(number) => {
                characters.next();
                substituted.push_str(groups.get(number as usize).map_or("", String::as_str));
            }
            None => substituted.push(character),
        }
    }
    substituted
}

fn attribute<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    node.attribute(name).unwrap_or_default()
}

fn known_attributes(node: Node<'_, '_>, known: &[&str]) -> Result<(), Error> {
    match node.attributes().find(|attribute| !known.contains(&attribute.name())) {
        Some(unknown) => {
            let element = node.tag_name().name();
            Err(unreadable(format!("the attribute {} of {element} is not understood", unknown.name())))
        }
        None => Ok(()),
    }
}

fn unreadable(reason: String) -> Error {
    Error::Dialplan { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deployed_can_be_read() {
        let mut dialplan = XmlDialplan::default();
        dialplan.add(include_str!("../../../deploy/freeswitch/fipple_step.xml"), "default").unwrap();
        dialplan.add(include_str!("../../../deploy/freeswitch/fipple.xml"), "default").unwrap();
        let extensions = |context: &str| dialplan.contexts[context].extensions.len();
        assert_eq!(extensions("fipple"), 2);
        assert!(extensions("default") >= 1 && !dialplan.contexts["default"].complete);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let read = |text: &str| XmlDialplan::default().add(text, "default");
        for wrong in [
            "<context",
            "<macro/>",
            "<extension><condition hour='9'/></extension>",
            "<extension><condition><condition/></condition></extension>",
            "<extension><condition break='maybe'/></extension>",
            "<extension><action application='park'/></extension>",
        ] {
            assert!(matches!(read(wrong), Err(Error::Dialplan { .. })), "{wrong}");
        }
        assert_eq!(read("<include><extension name='a'><condition/></extension></include>"), Ok(()));
    }

    #[test]
    fn groups_are_put_in() {
        let groups = ["all", "one"].map(str::to_owned);
        assert_eq!(substitute("$1-$0-$2-$x$", &groups), "one-all--$x$");
    }
}
