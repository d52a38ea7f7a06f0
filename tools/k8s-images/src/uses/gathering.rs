//! What the objects of a source said, kept small: no object, and every text once.
//!
//! Owns the state in which objects are added, one after the other, and that of two readings is joined. What it comes to is
//! [`super`]'s. Pure.
//!
//! A hundred thousand pods are a hundred thousand names and little else, for most of them are copies: what a container is said to run
//! stands here once, and a pod that says it too takes two numbers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use common::digest::Digest;
use common::record::Field;
use common::reference::Reference;

use crate::object::{Identity, Mention, Object, Role};

/// What the objects of one source said so far. Neither their order nor how they were split matters, and what is said twice counts once.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    pub(super) texts: Numbers<Box<str>>,
    pub(super) identities: Numbers<Who>,
    /// What is known of each identity, by its number.
    pub(super) known: Vec<Known>,
    /// Who owns whom. An object may be given twice, as it was written and as it is in the cluster; then they may differ.
    pub(super) owners: BTreeSet<(Number, Number)>,
    /// What each text that names an image means.
    pub(super) references: HashMap<Number, Arc<Reference>>,
    pub(super) statements: Numbers<Statement>,
    pub(super) said: HashSet<Said>,
}

/// Stands for a value that is kept once: how many there were before it. Memory ends long before these do.
pub(super) type Number = u32;

/// [`Identity`], its texts as numbers, but for the name, which few share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Who {
    pub(super) namespace: Option<Number>,
    pub(super) kind: Option<Number>,
    pub(super) group: Number,
    pub(super) name: Option<Box<str>>,
}

/// What is known of an identity.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Whether it was added itself, and not only named as an owner.
    pub(super) is_object: bool,
    /// Whether it owns a pod.
    pub(super) has_pods: bool,
    /// Whether it is a pod of which somebody said that it has ended.
    pub(super) is_finished: bool,
}

/// What an object may say of an image.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Statement {
    pub(super) container: Option<Number>,
    pub(super) field: Option<Field>,
    pub(super) image: Number,
    pub(super) running: Option<Digest>,
    pub(super) config: Option<Digest>,
}

/// That an object said it, and what the object was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Said {
    pub(super) by: Number,
    pub(super) statement: Number,
    pub(super) role: Role,
}

impl Gathering {
    /// Takes what an object says.
    pub(crate) fn add(&mut self, object: Object) {
        let Object { identity, owner, role, finished, mentions } = object;
        let by = self.identify(identity);
        self.learn(by, |known| {
            known.is_object = true;
            known.is_finished |= finished;
        });
        if let Some(owner) = owner {
            let owner = self.identify(owner);
            self.owners.insert((by, owner));
            if role == Role::Pod {
                self.learn(owner, |known| known.has_pods = true);
            }
        }
        for Mention { container, field, image, reference, running, config } in mentions {
            let container = container.map(|container| self.texts.of(container));
            let image = self.texts.of(image);
            self.references.entry(image).or_insert(reference);
            let statement = self.statements.of(Statement { container, field, image, running, config });
            self.said.insert(Said { by, statement, role });
        }
    }

    /// Whether nothing was said of any image.
    pub(crate) fn is_empty(&self) -> bool {
        self.said.is_empty()
    }

    /// Takes what another one gathered.
    pub(crate) fn absorb(&mut self, mut other: Self) {
        if self.identities.len() < other.identities.len() {
            std::mem::swap(self, &mut other);
        }
        let Self { texts, identities, known, owners, references, statements, said } = other;
        let texts = self.texts.absorb(texts, |text| text);
        let text = |number: Number| renumbered(&texts, number);
        let identities = self.identities.absorb(identities, |who| Who {
            namespace: who.namespace.map(text),
            kind: who.kind.map(text),
            group: text(who.group),
            name: who.name,
        });
        let identity = |number: Number| renumbered(&identities, number);
        let statements = self.statements.absorb(statements, |statement| Statement {
            container: statement.container.map(text),
            image: text(statement.image),
            ..statement
        });
        for (number, Known { is_object, has_pods, is_finished }) in identities.iter().zip(known) {
            self.learn(*number, |known| {
                known.is_object |= is_object;
                known.has_pods |= has_pods;
                known.is_finished |= is_finished;
            });
        }
        self.owners.extend(owners.into_iter().map(|(object, owner)| (identity(object), identity(owner))));
        for (image, reference) in references {
            self.references.entry(text(image)).or_insert(reference);
        }
        let said = said.into_iter();
        self.said.extend(said.map(|said| Said { by: identity(said.by), statement: renumbered(&statements, said.statement), ..said }));
    }

    fn identify(&mut self, identity: Identity) -> Number {
        let Identity { namespace, kind, name, group } = identity;
        let who = Who {
            namespace: namespace.map(|namespace| self.texts.of(namespace)),
            kind: kind.map(|kind| self.texts.of(kind)),
            group: self.texts.of(group),
            name: name.map(String::into_boxed_str),
        };
        self.identities.of(who)
    }

    fn learn(&mut self, identity: Number, learn: impl FnOnce(&mut Known)) {
        if self.known.len() < self.identities.len() {
            self.known.resize(self.identities.len(), Known::default());
        }
        if let Some(known) = self.known.get_mut(place(identity)) {
            learn(known);
        }
    }
}

/// Values, each with a number.
#[derive(Debug)]
pub(super) struct Numbers<T>(HashMap<T, Number>);

impl<T> Default for Numbers<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Numbers<T> {
    fn len(&self) -> usize {
        self.0.len()
    }

    /// The number of a value, which is the next if it is new.
    fn of(&mut self, value: impl Into<T>) -> Number {
        let next = Number::try_from(self.0.len()).unwrap_or(Number::MAX);
        *self.0.entry(value.into()).or_insert(next)
    }

    /// The number of a value, if it has one.
    pub(super) fn get(&self, value: &T) -> Option<Number> {
        self.0.get(value).copied()
    }

    /// Takes the values of another, as they are called here; which number is which now, in the order of theirs.
    fn absorb(&mut self, other: Self, mut called: impl FnMut(T) -> T) -> Vec<Number> {
        let values = in_order(other.0.into_iter().map(|(value, number)| (number, value)));
        values.into_iter().map(|value| self.of(called(value))).collect()
    }

    /// The values in the order of their numbers.
    pub(super) fn in_order(&self) -> Vec<&T> {
        in_order(self.0.iter().map(|(value, number)| (*number, value)))
    }
}

fn in_order<V>(numbered: impl Iterator<Item = (Number, V)>) -> Vec<V> {
    let mut values: Vec<(Number, V)> = numbered.collect();
    values.sort_unstable_by_key(|(number, _)| *number);
    values.into_iter().map(|(_, value)| value).collect()
}

fn renumbered(numbers: &[Number], number: Number) -> Number {
    numbers.get(place(number)).copied().unwrap_or(number)
}

/// Where the value of a number stands among all in their order.
pub(super) fn place(number: Number) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
