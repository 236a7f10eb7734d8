// --help and the manual page, both from the option tables. man(7) macros.
#include "manual.hpp"

#include <string>

#include <iopkt/version.h>

#include "option_tables.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kColumns = 80;
constexpr std::size_t kHelpIndent = 8;

/// Appends `text` wrapped at blanks, each line indented.
void wrap(std::string& out, std::string_view text, std::size_t indent) {
  std::size_t column = 0;
  while (!text.empty()) {
    const auto blank = text.find(' ');
    const std::string_view word = text.substr(0, blank);
    text.remove_prefix(blank == text.npos ? text.size() : blank + 1);
    if (word.empty()) continue;
    if (column != 0 && column + 1 + word.size() > kColumns) {
      out += '\n';
      column = 0;
    }
    if (column == 0)
      out.append(indent, ' '), column = indent;
    else
      out += ' ', ++column;
    out += word;
    column += word.size();
  }
  out += '\n';
}

/// "-i instance", "mclbytes=size", "bigstack[=size]".
std::string synopsis(const OptionRow& row) {
  std::string text{row.name};
  const bool word = row.name.starts_with('-');
  if (row.argument == Argument::optional_number)
    text.append("[=").append(row.value_name).append("]");
  else if (row.argument != Argument::none)
    text.append(word ? " " : "=").append(row.value_name);
  for (const std::string_view other : row.also) {
    if (other.empty()) continue;
    text.append(", ").append(other);
    if (row.argument != Argument::none) text.append(word ? " " : "=").append(row.value_name);
  }
  return text;
}

/// "Range 1..64 threads, default one per CPU. Not built yet."
std::string bounds(const OptionRow& row) {
  std::string text;
  if (row.argument != Argument::none && (row.argument != Argument::text || !row.allowed.empty()))
    text += "Allowed: " + allowed_text(row) + ".";
  const std::string initial = default_text(row);
  const bool has_default =
      !initial.empty() && !row.name.starts_with("--") && row.value_name != "driver [options]";
  if (has_default) text += (text.empty() ? "Default: " : " Default: ") + initial + ".";
  if (row.built == Built::later) text += text.empty() ? "Not built yet." : " Not built yet.";
  return text;
}

// ---- man(7) ----

/// Text for roff: a '-' that people copy must stay one, a leading '.' or ''' is no request.
std::string roff(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
      continue;
    }
    if (c == '-') out += '\\';
    if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n')) out += "\\&";
    out += c;
  }
  return out;
}

void man_row(std::string& out, const OptionRow& row) {
  out += ".TP\n.B " + roff(synopsis(row)) + "\n" + roff(row.help) + "\n";
  if (const std::string text = bounds(row); !text.empty()) out += roff(text) + "\n";
}

void man_protocols(std::string& out) {
  out += ".SH PROTOCOLS\n";
  for (const ProtocolRow& row : protocols()) {
    out += ".TP\n.B " + roff(row.name) + "\n" + roff(row.help);
    if (row.module != "built in") out += " Module " + roff(row.module) + ".";
    if (row.only) out += " For " + roff(program_name(*row.only)) + " only.";
    if (row.built == Built::later) out += " Not built yet.";
    out += "\n";
  }
}

constexpr std::string_view kSynopsis =
    "[-DIS] [-d driver [driver_options]] [-i instance] [-P priority] [-p protocol [protocol_options]] [-q "
    "interval] "
    "[-r priority] [-t threads] [-U string] [-u string] [-w interval] [--foreground]";

constexpr std::string_view kDescription = R"(.SH DESCRIPTION
The manager is a TCP/IP stack in an ordinary process. Drivers (devnp\-*.so) connect it to networks. Programs reach it
through the nodes below
.IR prefix /dev/socket
with the library that
.B iopkt run
preloads.
.PP
An argument may be attached to its letter or be the next word. After the name of a driver or a protocol the next word,
unless it begins with '\-', is its list of options, separated by commas without blanks. Numbers are decimal, or
hexadecimal behind 0x; sizes are bytes. All values are checked when every word is read; the first that is wrong ends
the program with one line and status 2 before anything is touched.
.PP
The process goes to the background when everything is up; its first process then exits with 0, or, when the start has
failed, with the message and the status of the failure.
.PP
A driver belongs to the network it attaches to: it is started with
.B \-d
or later with
.BR mount (1),
and it is unloaded when the last of its interfaces is destroyed with
.BR "ifconfig \fIinterface\fP destroy" .
)";

constexpr std::string_view kTail = R"(.SH SIGNALS
SIGTERM and SIGINT end the process in order: clients see their sockets reset, drivers undo what they did to the host,
nodes are removed. On a fault the drivers are stopped before the core is written, unless
.B \-S
is given.
.SH ENVIRONMENT
.TP
.B IOPKT_DRIVER_PATH
Directories, separated by colons, that are searched for drivers first.
.TP
.B IOPKT_RUN_DIR
Run directory to use instead of those under FILES, for the manager and for the commands that look for it.
.TP
.B LD_LIBRARY_PATH
Searched for drivers last.
.TP
.B NOTIFY_SOCKET
Set by a service manager: implies \-\-foreground; READY and STOPPING are sent there.
.SH FILES
.TP
.I prefix\fP/dev/socket/
Nodes that clients use.
.TP
.I /run/io\-pkt/io\-pktN\fP, io\-pktN.pid, io\-pktN.control
What is running as instance N, the lock with the process's number, and the way to it for
.BR mount .
A user who is not root has them in
.IR $XDG_RUNTIME_DIR/io\-pkt ,
or else in
.IR /tmp/io\-pkt\-UID .
.SH EXIT STATUS
.TP
.B 0
Ended in order, or running in the background.
.TP
.B 1
The start failed: the instance or the prefix is taken, a directory is not writable, a device cannot be opened.
.TP
.B 2
The command line is wrong; nothing was touched.
.SH EXAMPLES
.nf
io\-pkt\-v4\-hc \-d slirp \-p tcpip prefix=$HOME/net
SOCK=$HOME/net ifconfig \-a
io\-pkt\-v4\-hc \-i1 \-ptcpip prefix=/alt
mount \-Tio\-pkt1 devnp\-tap.so
io\-pkt\-v4\-hc \-d tap name=en
io\-pkt\-v4\-hc \-d tap name=wan,mac=001122334455 \-p tcpip pagesize=8192,mclbytes=8192
.fi
)";

}  // namespace

void help_row(std::string& out, const OptionRow& row) {
  out += "  " + synopsis(row) + "\n";
  wrap(out, row.help, kHelpIndent);
  if (const std::string text = bounds(row); !text.empty()) wrap(out, text, kHelpIndent);
}

std::string help_text(Variant variant) {
  std::string out{"Usage: "};
  out += std::string{program_name(variant)} + "\n";
  wrap(out, kSynopsis, kHelpIndent);
  out += "\nOptions:\n";
  for (const CommandOption& option : command_options()) help_row(out, option.row);
  out += "\nProtocols:\n";
  for (const ProtocolRow& row : protocols()) {
    out += "  " + std::string{row.name} + "\n";
    std::string text{row.help};
    if (row.only) text += " For " + std::string{program_name(*row.only)} + " only.";
    if (row.built == Built::later) text += " Not built yet.";
    wrap(out, text, kHelpIndent);
  }
  out += "\nOptions of -p tcpip:\n";
  for (const TcpipOption& option : tcpip_options()) help_row(out, option.row);
  out += "\nOptions of every driver (-d driver --help shows a driver's own):\n";
  for (const OptionRow& row : generic_driver_options()) help_row(out, row);
  out += "\nOptions of drivers for USB devices:\n";
  for (const OptionRow& row : usb_driver_options()) help_row(out, row);
  return out;
}

std::string manual_page(Variant variant) {
  const std::string name{program_name(variant)};
  std::string title{name};
  for (char& c : title)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  std::string out = ".\\\" Printed by " + name + " --man; change the option tables instead.\n";
  out += ".TH " + title + " 8 \"\" \"io-pkt " IOPKT_VERSION "\" \"System Manager's Manual\"\n";
  out += ".SH NAME\n" + roff(name) + " \\- networking manager: a TCP/IP stack in a process\n";
  out += ".SH SYNOPSIS\n.B " + roff(name) + "\n" + roff(kSynopsis) + "\n";
  out += kDescription;
  out += ".SH OPTIONS\n";
  for (const CommandOption& option : command_options()) man_row(out, option.row);
  man_protocols(out);
  out += ".SH OPTIONS OF \\-p tcpip\n";
  for (const TcpipOption& option : tcpip_options()) man_row(out, option.row);
  out += ".SH OPTIONS OF EVERY DRIVER\n";
  for (const OptionRow& row : generic_driver_options()) man_row(out, row);
  out += ".SH OPTIONS OF DRIVERS FOR USB DEVICES\n";
  for (const OptionRow& row : usb_driver_options()) man_row(out, row);
  out += kTail;
  out += ".SH SEE ALSO\n.BR ifconfig (8),\n.BR mount (1),\n.BR iopkt (1)\n";
  return out;
}

}  // namespace iopkt::daemon
