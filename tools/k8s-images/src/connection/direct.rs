//! A client that reaches its server without a proxy.
//!
//! Owns the order of the layers, which is that of kube's own (`kube::client::ClientBuilder`, from a `Config`), in one expression; they differ
//! in two things. Each request is sent at once (`TCP_NODELAY`): otherwise the first on a new connection waits until the server has
//! acknowledged the end of the TLS handshake, for which it takes its 40 ms. And nothing is traced here, because the requests are
//! traced where they are made.

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ClientBuilder, ConfigExt as _, DynBody};
use tower::util::BoxService;
use tower::{BoxError, ServiceBuilder, ServiceExt as _};
use tower_http::decompression::DecompressionLayer;

/// What kube's own builder begins with too.
type Service = BoxService<Request<Body>, Response<Box<DynBody>>, BoxError>;

/// The client, without the layers of whoever adds to it.
///
/// # Errors
/// What kube will not take.
pub(super) fn builder(config: &Config) -> Result<ClientBuilder<Service>, kube::Error> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(tcp)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(DecompressionLayer::new().gzip(!config.disable_compression))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(connector));
    let service = service.map_response(|response| response.map(|body| Box::new(body.map_err(BoxError::from)) as Box<DynBody>));
    Ok(ClientBuilder::new(service.boxed(), &config.default_namespace))
}
