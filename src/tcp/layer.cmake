# MD5, HMAC-SHA-1 and AES-CMAC for signed segments (auth.hpp).
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
list(APPEND libs OpenSSL::Crypto)
