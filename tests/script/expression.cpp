#include "tests/script/expression.hpp"

#include <cctype>
#include <map>
#include <vector>

#include "tests/script/syntax.hpp"

namespace iopkt::script {
namespace {

constexpr int kMaxDepth = 64;

/// Precedence climbing: or, and, not, comparisons (a < b < c too), | ^ & shifts, + -, * / // %, unary, names.
class Evaluator {
 public:
  Evaluator(const std::string& text, int line, const Names& names) : text_(text), line_(line), names_(names) {}

  std::int64_t whole() {
    const std::int64_t out = either(0);
    if (blank(), at_ < text_.size()) fail("unexpected " + text_.substr(at_));
    return out;
  }
  std::string used() const {
    std::string out;
    for (const auto& [name, value] : used_) out += (out.empty() ? "" : ", ") + name + " is " + std::to_string(value);
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw Fault(line_, "in the assertion \"" + text_ + "\": " + what); }
  void blank() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool is_word(std::size_t ahead) const { return std::isalnum(static_cast<unsigned char>(peek(ahead))) != 0 || peek(ahead) == '_'; }
  bool accept(std::string_view token) {
    blank();
    if (text_.compare(at_, token.size(), token) != 0) return false;
    if (std::isalpha(static_cast<unsigned char>(token[0])) != 0 && is_word(token.size())) return false;
    at_ += token.size();
    return true;
  }
  int deeper(int depth) const {
    if (depth > kMaxDepth) fail("too many parentheses");
    return depth + 1;
  }

  // Arithmetic modulo 2^64, so that no text overflows anything.
  static std::int64_t wrap(std::uint64_t v) { return static_cast<std::int64_t>(v); }
  static std::uint64_t u(std::int64_t v) { return static_cast<std::uint64_t>(v); }

  std::int64_t either(int depth) {
    std::int64_t out = both(depth);
    while (accept("or")) {
      const std::int64_t right = both(depth);
      out = out != 0 ? out : right;
    }
    return out;
  }
  std::int64_t both(int depth) {
    std::int64_t out = negation(depth);
    while (accept("and")) {
      const std::int64_t right = negation(depth);
      out = out == 0 ? out : right;
    }
    return out;
  }
  std::int64_t negation(int depth) {
    depth = deeper(depth);
    return accept("not") ? static_cast<std::int64_t>(negation(depth) == 0) : comparison(depth);
  }
  std::int64_t comparison(int depth) {
    std::int64_t left = bits(depth);
    bool holds = true, any = false;
    for (;;) {
      int kind = -1;
      for (const auto* token : {"==", "!=", "<=", ">=", "<", ">"}) {
        ++kind;
        if (blank(), peek() == token[0] && peek(1) == token[0] && (token[0] == '<' || token[0] == '>')) continue;  // shifts
        if (accept(token)) goto found;
      }
      return any ? holds : left;
    found:
      const std::int64_t right = bits(depth);
      const bool results[] = {left == right, left != right, left <= right, left >= right, left < right, left > right};
      holds = holds && results[kind];
      any = true;
      left = right;
    }
  }
  std::int64_t bits(int depth) {
    std::int64_t out = shift(depth);
    for (;;) {
      if (accept("|")) out |= shift(depth);
      else if (accept("^")) out ^= shift(depth);
      else if (accept("&")) out &= shift(depth);
      else return out;
    }
  }
  std::int64_t shift(int depth) {
    std::int64_t out = sum(depth);
    for (;;) {
      const bool left = accept("<<");
      if (!left && !accept(">>")) return out;
      const std::int64_t by = sum(depth);
      if (by < 0 || by > 63) fail("a shift by " + std::to_string(by));
      out = left ? wrap(u(out) << by) : out >> by;
    }
  }
  std::int64_t sum(int depth) {
    std::int64_t out = product(depth);
    for (;;) {
      if (accept("+")) out = wrap(u(out) + u(product(depth)));
      else if (accept("-")) out = wrap(u(out) - u(product(depth)));
      else return out;
    }
  }
  std::int64_t product(int depth) {
    std::int64_t out = unary(depth);
    for (;;) {
      if (accept("*")) {
        out = wrap(u(out) * u(unary(depth)));
        continue;
      }
      const bool modulo = accept("%");
      if (!modulo && !accept("//") && !accept("/")) return out;
      const std::int64_t by = unary(depth);
      if (by == 0) fail("a division by 0");
      if (by == -1) out = modulo ? 0 : wrap(0 - u(out));
      else out = modulo ? out % by : out / by;
    }
  }
  std::int64_t unary(int depth) {
    depth = deeper(depth);
    if (accept("-")) return wrap(0 - u(unary(depth)));
    if (accept("(")) {
      const std::int64_t out = either(depth);
      if (!accept(")")) fail("a parenthesis without an end");
      return out;
    }
    blank();
    return std::isdigit(static_cast<unsigned char>(peek())) != 0 ? number() : name();
  }
  std::int64_t number() {
    const bool hexadecimal = peek() == '0' && (peek(1) == 'x' || peek(1) == 'X');
    if (hexadecimal) at_ += 2;
    std::uint64_t out = 0;
    while (hexadecimal ? std::isxdigit(static_cast<unsigned char>(peek())) != 0 : std::isdigit(static_cast<unsigned char>(peek())) != 0) {
      const char c = static_cast<char>(std::tolower(static_cast<unsigned char>(peek())));
      out = out * (hexadecimal ? 16 : 10) + static_cast<std::uint64_t>(c >= 'a' ? c - 'a' + 10 : c - '0');
      ++at_;
    }
    return wrap(out);
  }
  std::int64_t name() {
    std::string out;
    while (is_word(0)) out += peek(), ++at_;
    if (out.empty()) fail("expected a number or a name at the end of \"" + text_.substr(0, at_) + "\"");
    std::optional<std::int64_t> value;
    if (accept("(")) {
      if (!accept("\"")) fail("expected a text in quotes after " + out);
      std::string argument;
      while (at_ < text_.size() && peek() != '"') argument += peek(), ++at_;
      if (!accept("\"") || !accept(")")) fail("a call without an end");
      value = names_.call(out, argument);
      out += "(\"" + argument + "\")";
    } else {
      value = names_.value(out);
    }
    if (!value) fail("unknown name: " + out);
    used_[out] = *value;
    return *value;
  }

  const std::string& text_;
  int line_;
  const Names& names_;
  std::size_t at_ = 0;
  std::map<std::string, std::int64_t> used_;
};

}  // namespace

std::int64_t evaluate(const std::string& expression, const Names& names) { return Evaluator(expression, 1, names).whole(); }

void check_assertions(const std::string& code, int line, const Names& names) {
  std::string statement;
  const auto finish = [&] {
    const auto begin = statement.find_first_not_of(" \t\r");
    if (begin != std::string::npos) {
      if (statement.compare(begin, 7, "assert ") != 0) throw Fault(line, "expected \"assert\": " + statement.substr(begin));
      const std::string expression = statement.substr(begin + 7);
      Evaluator evaluator(expression, line, names);
      if (evaluator.whole() == 0) throw Fault(line, "assertion does not hold: " + expression + " (" + evaluator.used() + ")");
    }
    statement.clear();
  };
  bool comment = false;
  for (const char c : code) {
    if (c == '\n') comment = false;
    if (c == '#') comment = true;
    if (c == ';' || c == '\n') finish();
    else if (!comment) statement += c;
    line += c == '\n';
  }
  finish();
}

}  // namespace iopkt::script
