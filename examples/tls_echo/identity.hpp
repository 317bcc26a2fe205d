// A key, and a certificate that it has signed for itself: good for an hour, for who has been told to trust it.
#pragma once

#include <openssl/ssl.h>

#include <memory>

class identity {
 public:
  explicit identity(char const* name)
      : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), certificate_(X509_new(), &X509_free) {
    X509* const made = certificate_.get();
    X509_gmtime_adj(X509_getm_notBefore(made), -60);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    auto const* const text = reinterpret_cast<unsigned char const*>(name);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC, text, -1, -1, 0);
    X509_set_issuer_name(made, X509_get_subject_name(made));
    X509_set_pubkey(made, key_.get());
    X509_sign(made, key_.get(), EVP_sha256());
  }

  using context = std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)>;

  /// Of a server that shows this certificate.
  context of_server() const {
    context made(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
    SSL_CTX_use_certificate(made.get(), certificate_.get());
    SSL_CTX_use_PrivateKey(made.get(), key_.get());
    return made;
  }
  /// Of a client that trusts it, and no other.
  context of_client() const {
    context made(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(made.get()), certificate_.get());
    SSL_CTX_set_verify(made.get(), SSL_VERIFY_PEER, nullptr);
    return made;
  }

 private:
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key_;
  std::unique_ptr<X509, void (*)(X509*)> certificate_;
};
