//! What to send as credentials with a request, and what to do when a registry asks for others.
//!
//! The handshake is Distribution's ("Token Authentication Specification" and RFC 6750): a 401 says how to authenticate. What it says
//! is remembered for the registry, and tokens for their scope until shortly before they expire, so that later requests need no
//! handshake. Where user names and passwords come from is the business of [`super::credentials`].
//!
//! A token server is named by the registry and is given credentials, so [`realm`] decides who may be one.

mod challenge;
mod realm;
mod token;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, StatusCode};

use self::challenge::Challenge;
use self::token::{Scope, Token};
use super::credentials::{Credential, Credentials, Found};
use super::error::{Cause, Error};
use super::settings::Settings;
use super::transport::{Answer, Ask, Transport, lock};
use crate::reference::{Host, Repository};
use crate::secret::Secret;

/// How often one request may be refused before its error stands; a registry that asks for another scope each time ends here.
const REFUSALS: u32 = 5;

/// How many tokens are kept; a registry of many repositories has one for each, and each is of use for a short time.
const TOKENS: usize = 512;

/// What a request needs the right to do, for registries that do not say which scope they want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access<'a> {
    Catalog,
    Pull(&'a Repository),
    Push(&'a Repository),
    Delete(&'a Repository),
}

impl<'a> Access<'a> {
    fn repository(self) -> Option<&'a Repository> {
        match self {
            Self::Catalog => None,
            Self::Pull(repository) | Self::Push(repository) | Self::Delete(repository) => Some(repository),
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Catalog => Kind::Catalog,
            Self::Pull(_) => Kind::Pull,
            Self::Push(_) => Kind::Push,
            Self::Delete(_) => Kind::Delete,
        }
    }

    /// The scopes to try where the registry names none. Distribution deletes with `delete`, others with `*`, and Quay refuses to
    /// hear of `delete` and wants `push`.
    fn scopes(self) -> Vec<Scope> {
        let actions: &[&str] = match self {
            Self::Catalog => return vec![Scope::parse("registry:catalog:*")],
            Self::Pull(_) => &["pull"],
            Self::Push(_) => &["pull,push"],
            Self::Delete(_) => &["pull,delete", "*", "pull,push"],
        };
        let repository = self.repository().map_or("", Repository::as_str);
        actions.iter().map(|actions| Scope::parse(&format!("repository:{repository}:{actions}"))).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Catalog,
    Pull,
    Push,
    Delete,
}

/// What is sent with a request.
#[derive(Debug)]
pub(super) enum Authorization {
    /// User name and password, and where they came from.
    Basic { value: HeaderValue, origin: String },
    /// A token for a scope, and what it answers.
    Bearer { token: Token, scope: Scope, from: Challenge },
}

impl Authorization {
    pub(super) fn header(&self) -> &HeaderValue {
        match self {
            Self::Basic { value, .. } => value,
            Self::Bearer { token, .. } => token.header(),
        }
    }
}

/// What one request has been refused already.
#[derive(Debug)]
pub(super) struct Rejections {
    began: Instant,
    count: u32,
    /// What the last refusal asked for. Another repository may be asked otherwise, so what the registry said last elsewhere is
    /// only a guess.
    challenge: Option<Challenge>,
    /// The scope that the last refusal asked for.
    scope: Option<Scope>,
    /// Scopes of tokens that were obtained for this request and refused all the same.
    refused: Vec<Scope>,
}

impl Default for Rejections {
    fn default() -> Self {
        Self { began: Instant::now(), count: 0, challenge: None, scope: None, refused: Vec::new() }
    }
}

/// What is known about authentication at one registry.
#[derive(Debug)]
pub(super) struct Auth {
    host: Host,
    auth_hosts: Vec<Host>,
    credentials: Arc<Credentials>,
    /// What the registry asked for last.
    challenge: Mutex<Option<Challenge>>,
    /// Which actions it wants in a scope, by what a request is for.
    actions: Mutex<HashMap<Kind, String>>,
    /// By who gives them, too: two repositories of one registry may name two token servers.
    tokens: Mutex<HashMap<(Challenge, Scope), Arc<Slot>>>,
}

/// The token for one scope, or the reason why there is none. The lock is held while it is fetched, so that whoever needs it too
/// waits for it instead of asking as well.
type Slot = tokio::sync::Mutex<Option<Result<Token, Error>>>;

impl Auth {
    pub(super) fn new(host: &Host, settings: &Settings) -> Self {
        Self {
            host: host.clone(),
            auth_hosts: settings.auth_hosts.clone(),
            credentials: Arc::new(Credentials::new(host, settings)),
            challenge: Mutex::new(None),
            actions: Mutex::new(HashMap::new()),
            tokens: Mutex::new(HashMap::new()),
        }
    }

    /// What to send with a request, as far as that is known before the registry was asked.
    ///
    /// What it asked for elsewhere is a guess: where nothing can be had for that, the request is made without, and the registry says
    /// itself whether it wants anything here, and from whom.
    pub(super) async fn authorization(
        &self,
        transport: &Transport,
        ask: &Ask<'_>,
        rejections: &Rejections,
    ) -> Result<Option<Authorization>, Error> {
        if let Some(challenge) = &rejections.challenge {
            let scope = rejections.scope.clone();
            return self.answer(transport, ask.access, challenge, scope).await;
        }
        let Some(challenge) = lock(&self.challenge).clone() else { return Ok(None) };
        Ok(self.answer(transport, ask.access, &challenge, self.predicted(ask.access)).await.unwrap_or_default())
    }

    /// What to send in answer to a challenge.
    async fn answer(
        &self,
        transport: &Transport,
        access: Access<'_>,
        challenge: &Challenge,
        scope: Option<Scope>,
    ) -> Result<Option<Authorization>, Error> {
        match (challenge, scope) {
            (Challenge::Basic, _) => match self.find(access).await? {
                Some(Found { credential: Credential::Basic { user, password }, origin }) => {
                    Ok(Some(Authorization::Basic { value: basic(&user, &password)?, origin }))
                }
                _ => Ok(None),
            },
            (Challenge::Bearer { .. }, Some(scope)) => {
                let token = self.token(transport, access, challenge, &scope).await?;
                Ok(Some(Authorization::Bearer { token, scope, from: challenge.clone() }))
            }
            (Challenge::Bearer { .. }, None) => Ok(None),
        }
    }

    /// Learns from a 401. `Ok` says that another try, with what is known now, may be answered otherwise.
    pub(super) async fn challenged(
        &self,
        transport: &Transport,
        ask: &Ask<'_>,
        answer: &Answer,
        used: Option<Authorization>,
        rejections: &mut Rejections,
    ) -> Result<(), Error> {
        let fail = |cause| Err(Error::of_request(&answer.method, &answer.url, cause));
        rejections.count += 1;
        let values = answer.headers.get_all(header::WWW_AUTHENTICATE);
        let Some(asked) = challenge::first(values.iter().filter_map(|value| value.to_str().ok())) else {
            return Err(answer.error().with_hint("it does not say by Basic or Bearer how to authenticate"));
        };
        match asked {
            challenge::Asked::Basic => {
                *lock(&self.challenge) = Some(Challenge::Basic);
                rejections.challenge = Some(Challenge::Basic);
                match (used, self.find(ask.access).await?) {
                    (Some(Authorization::Basic { origin, .. }), _) => fail(Cause::Rejected { origin }),
                    (_, None) => fail(Cause::NoCredentials),
                    (_, Some(Found { credential: Credential::Basic { .. }, .. })) if rejections.count < REFUSALS => Ok(()),
                    (_, Some(Found { origin, .. })) => {
                        fail(Cause::Credentials(format!("the registry wants a user name and a password, and {origin} has a token")))
                    }
                }
            }
            challenge::Asked::Bearer { realm, service, scope } => {
                let realm = match realm::admit(&realm, &answer.url, transport.is_plain()) {
                    Ok(realm) => realm,
                    Err(reason) => return fail(Cause::Realm(reason)),
                };
                let challenge = Challenge::Bearer { realm, service };
                *lock(&self.challenge) = Some(challenge.clone());
                if let Some(Authorization::Bearer { token, scope, from }) = used {
                    self.forget(&from, &scope, &token).await;
                    // A token from before may have expired or been revoked; one obtained for this request was good when it was refused.
                    if token.obtained() >= rejections.began && from == challenge {
                        rejections.refused.push(scope);
                    }
                }
                rejections.challenge = Some(challenge.clone());
                let wanted = scope.map_or_else(|| ask.access.scopes(), |scope| vec![Scope::parse(&scope)]);
                let next = wanted.iter().find(|scope| !rejections.refused.contains(scope)).filter(|_| rejections.count < REFUSALS);
                match next {
                    Some(scope) => {
                        self.learn(ask.access, scope);
                        rejections.scope = Some(scope.clone());
                        Ok(())
                    }
                    None => {
                        let scope = wanted.first().map(ToString::to_string).unwrap_or_default();
                        fail(self.denial(ask.access, &challenge, scope).await?)
                    }
                }
            }
        }
    }

    /// Why a token does not do, or why there is none.
    async fn denial(&self, access: Access<'_>, challenge: &Challenge, scope: String) -> Result<Cause, Error> {
        Ok(match (self.find(access).await?, challenge) {
            (None, _) => Cause::AnonymousDenied { scope },
            (Some(found), Challenge::Bearer { realm, .. }) if !self.trusts(realm) => Cause::Realm(format!(
                "denied: its token server is {}, which looks unrelated to the registry and is not given the credentials from {}; if it may \
                 have them, say --auth-host {0}",
                realm.host_str().unwrap_or_default(),
                found.origin
            )),
            _ => Cause::Denied { scope },
        })
    }

    fn trusts(&self, realm: &url::Url) -> bool {
        realm::is_trusted(realm, &self.host, &self.auth_hosts)
    }

    async fn find(&self, access: Access<'_>) -> Result<Option<Found>, Error> {
        let repository = access.repository().cloned();
        let credentials = Arc::clone(&self.credentials);
        // Files and helpers block; while a helper asks somebody for a passphrase, other requests go on.
        let found = match self.credentials.known(repository.as_ref()) {
            Some(found) => found,
            None => tokio::task::spawn_blocking(move || credentials.find(repository.as_ref()))
                .await
                .unwrap_or_else(|_| Err("looking for credentials was cut short".to_owned())),
        };
        found.map_err(|text| Error::new(self.host.as_str(), Cause::Credentials(text)))
    }

    /// The scope that the registry will ask for, if it asks as it did for other repositories.
    fn predicted(&self, access: Access<'_>) -> Option<Scope> {
        let actions = lock(&self.actions).get(&access.kind()).cloned()?;
        Some(match access.repository() {
            Some(repository) => Scope::parse(&format!("repository:{repository}:{actions}")),
            None => Scope::parse(&actions),
        })
    }

    fn learn(&self, access: Access<'_>, scope: &Scope) {
        let text = scope.to_string();
        let actions = match access.repository() {
            None => Some(text.as_str()),
            // Repository names in scopes may hold a colon, so actions are split off from the right.
            Some(repository) => {
                text.rsplit_once(':').filter(|(name, _)| *name == format!("repository:{repository}")).map(|(_, actions)| actions)
            }
        };
        if let Some(actions) = actions {
            lock(&self.actions).insert(access.kind(), actions.to_owned());
        }
    }

    async fn forget(&self, challenge: &Challenge, scope: &Scope, token: &Token) {
        let slot = lock(&self.tokens).get(&(challenge.clone(), scope.clone())).cloned();
        if let Some(slot) = slot {
            let mut slot = slot.lock().await;
            // Another request may have renewed it meanwhile.
            if matches!(&*slot, Some(Ok(held)) if held.obtained() == token.obtained()) {
                *slot = None;
            }
        }
    }

    async fn token(&self, transport: &Transport, access: Access<'_>, challenge: &Challenge, scope: &Scope) -> Result<Token, Error> {
        let slot = self.slot(challenge, scope);
        let mut slot = slot.lock().await;
        match &*slot {
            Some(Ok(token)) if token.is_fresh(Instant::now()) => return Ok(token.clone()),
            Some(Err(error)) => return Err(error.clone()),
            _ => {}
        }
        let fetched = self.fetch(transport, access, challenge, scope).await;
        *slot = match &fetched {
            Err(error) if !error.is_lasting() => None,
            fetched => Some(fetched.clone()),
        };
        fetched
    }

    fn slot(&self, challenge: &Challenge, scope: &Scope) -> Arc<Slot> {
        let key = (challenge.clone(), scope.clone());
        let mut tokens = lock(&self.tokens);
        if tokens.len() >= TOKENS && !tokens.contains_key(&key) {
            // Slots that somebody waits at stay: who throws one away has the token fetched twice.
            tokens.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(tokens.entry(key).or_default())
    }

    /// Asks the token server.
    async fn fetch(&self, transport: &Transport, access: Access<'_>, challenge: &Challenge, scope: &Scope) -> Result<Token, Error> {
        let Challenge::Bearer { realm, service } = challenge else {
            return Err(Error::new(self.host.as_str(), Cause::Setup("a token was wanted where none is asked for".to_owned())));
        };
        let found = self.find(access).await?;
        let given = found.as_ref().filter(|_| self.trusts(realm));
        let service = service.as_deref();
        let obtained = Instant::now();
        let answer = match given.map(|found| &found.credential) {
            Some(Credential::RegistryToken(token)) => return Token::given(token, obtained).map_err(|text| self.content(text)),
            Some(Credential::IdentityToken(identity)) => {
                let mut ask = transport.ask(Method::POST, realm.clone(), access, token::LIMIT);
                ask.headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded")));
                ask.body = Some(token::form(identity, service, scope));
                let answer = transport.ask_token_server(&ask, None).await?;
                if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
                    // Servers that know no OAuth2 may still know the token as the password of this user.
                    let ask = transport.ask(Method::GET, token::query(realm, service, scope), access, token::LIMIT);
                    transport.ask_token_server(&ask, Some(&basic("<token>", identity)?)).await?
                } else {
                    answer
                }
            }
            Some(Credential::Basic { user, password }) => {
                let ask = transport.ask(Method::GET, token::query(realm, service, scope), access, token::LIMIT);
                transport.ask_token_server(&ask, Some(&basic(user, password)?)).await?
            }
            None => {
                let ask = transport.ask(Method::GET, token::query(realm, service, scope), access, token::LIMIT);
                transport.ask_token_server(&ask, None).await?
            }
        };
        match (answer.status, given) {
            (status, _) if status.is_success() => Token::read(&answer.body, obtained).map_err(|text| answer.content_error(text)),
            (StatusCode::UNAUTHORIZED, Some(found)) => {
                Err(Error::of_request(&answer.method, &answer.url, Cause::Rejected { origin: found.origin.clone() }))
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                Err(Error::of_request(&answer.method, &answer.url, self.denial(access, challenge, scope.to_string()).await?))
            }
            _ => Err(answer.error()),
        }
    }

    fn content(&self, text: String) -> Error {
        Error::new(self.host.as_str(), Cause::Content(text))
    }
}

fn basic(user: &str, password: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.reveal()))))
        .map_err(|_| Error::new("credentials", Cause::Credentials("they cannot be sent".to_owned())))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Tokens are renewed this long before they expire, so that none expires on its way.
const EARLY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
