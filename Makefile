# For GNU make and BSD make alike.

PREFIX = /usr/local
# Empty: PREFIX/man on OpenBSD and NetBSD, PREFIX/share/man elsewhere.
MANDIR =
EXAMPLES = $(PREFIX)/share/examples/pflow
DESTDIR =
CARGO = cargo
INSTALL = install

# Rust that Cargo.toml asks for.
RUST = 1.88
# Where cargo puts what it builds; CARGO_TARGET_DIR in the environment goes over it.
TARGET = $${CARGO_TARGET_DIR:-target}
PAGES = pflow.8 pflow.conf.5 pflowctl.8
CAPTURE = testdata/mix200.openbsd-v6.pcap

# Where manual pages go, for the shell.
MAN = "$(DESTDIR)$${man:-$$(case $$(uname -s) in OpenBSD|NetBSD) echo $(PREFIX)/man;; *) echo $(PREFIX)/share/man;; esac)}"

# Before each cargo: rustup puts it where not every shell looks, and on OpenBSD the build of the
# pcap crate cannot tell libpcap's version by itself.
RUSTENV = PATH="$${CARGO_HOME:-$$HOME/.cargo}/bin:$$PATH"; export PATH; \
	if [ "$$(uname -s)" = OpenBSD ]; then \
		LIBPCAP_VER=$${LIBPCAP_VER:-1.5.0}; export LIBPCAP_VER; \
	fi;

all: build

build:
	@$(RUSTENV) $(CARGO) build --release --locked

# Sets up this machine, builds, shows the flows of a capture of 200 states.
run: setup build
	@echo "pflow -a -b 1699900000 -r $(CAPTURE)"
	@$(TARGET)/release/pflow -a -b 1699900000 -r $(CAPTURE)

test: setup
	@$(RUSTENV) $(CARGO) test --locked

# A firewall (pfsim, over a savefile), pflow and a collector on this machine: 20 000 states of 20
# minutes, and what of them is exported. DEMO takes pfsim's options, say DEMO="-d fbsd15 -L 0.01".
DEMO =
COLLECTOR = 127.0.0.1:9996
demo: setup build
	@$(RUSTENV) $(CARGO) build --release --locked --example pfsim
	@bin=$(TARGET)/release; dir=$$(mktemp -d) || exit 1; trap 'rm -rf "$$dir"' EXIT; \
	echo "pfsim -w sync.pcap -t truth.json $(DEMO)"; \
	"$$bin/examples/pfsim" -w "$$dir/sync.pcap" -t "$$dir/truth.json" $(DEMO) || exit 1; \
	"$$bin/examples/pfsim" collect $(COLLECTOR) >"$$dir/collected.json" & \
	sleep 1; \
	echo "pflow -a -r sync.pcap -o json pflow0 flowdst $(COLLECTOR) pflowproto 10 >flows.json"; \
	"$$bin/pflow" -a -r "$$dir/sync.pcap" -o json pflow0 flowdst $(COLLECTOR) pflowproto 10 \
		>"$$dir/flows.json" || exit 1; \
	wait; \
	"$$bin/examples/pfsim" compare "$$dir/truth.json" "$$dir/flows.json" "$$dir/collected.json"

# What the build needs: libpcap and OpenSSL with their headers, a C compiler to link with, pkg-config, Rust. The
# BSDs have OpenSSL or LibreSSL in base.
setup:
	@$(RUSTENV) \
	need=; \
	case "$$(uname -s)" in \
	Linux) \
		command -v cc >/dev/null 2>&1 || need="$$need gcc"; \
		[ -f /usr/include/stdio.h ] || need="$$need libc6-dev"; \
		command -v pkg-config >/dev/null 2>&1 || need="$$need pkg-config"; \
		pkg-config --exists libpcap 2>/dev/null || \
			[ -f /usr/include/pcap/pcap.h ] || need="$$need libpcap-dev"; \
		pkg-config --exists libssl 2>/dev/null || \
			[ -f /usr/include/openssl/ssl.h ] || need="$$need libssl-dev"; \
		command -v $(CARGO) >/dev/null 2>&1 || need="$$need @rust"; \
		how="apt-get install -y --no-install-recommends"; \
		if [ -n "$$need" ] && ! command -v apt-get >/dev/null 2>&1; then \
			echo "pflow needs libpcap and OpenSSL with headers, a C compiler, pkg-config:" >&2; \
			echo "please install what Debian calls$${need%@rust}" >&2; \
			case "$$need" in *@rust) \
				echo "and Rust $(RUST) or later: https://rustup.rs" >&2;; \
			esac; \
			exit 1; \
		fi;; \
	FreeBSD) \
		command -v pkg-config >/dev/null 2>&1 || need="$$need pkgconf"; \
		command -v cargo >/dev/null 2>&1 || need="$$need rust"; \
		how="pkg install -y";; \
	OpenBSD) \
		command -v cargo >/dev/null 2>&1 || need="$$need rust"; \
		how="pkg_add";; \
	*) \
		how=;; \
	esac; \
	if [ -n "$$need" ]; then \
		if [ "$$(id -u)" = 0 ]; then as=; \
		elif command -v sudo >/dev/null 2>&1; then as=sudo; \
		elif command -v doas >/dev/null 2>&1; then as=doas; \
		else \
			echo "packages are missing; please run as root:" >&2; \
			echo "    $$how$${need%@rust}" >&2; \
			case "$$need" in *@rust) \
				echo "and install Rust $(RUST) or later: Debian 12's rustc-web and cargo-web, or https://rustup.rs" >&2;; \
			esac; \
			exit 1; \
		fi; \
		case "$$how" in apt-get*) \
			$$as apt-get update -q || exit 1; \
			: "Debian 12 keeps a newer Rust than its own beside it, for browsers."; \
			case "$$need" in *@rust) \
				rust="rustc cargo"; \
				! apt-cache show cargo-web >/dev/null 2>&1 || rust="rustc-web cargo-web"; \
				need="$${need%@rust}$$rust";; \
			esac;; \
		esac; \
		echo "$$as $$how$$need"; \
		$$as $$how$$need || { \
			echo "could not install$$need; please try by hand:" >&2; \
			echo "    $$how$$need" >&2; \
			exit 1; \
		}; \
	fi; \
	if ! command -v $(CARGO) >/dev/null 2>&1; then \
		echo "pflow needs Rust $(RUST) or later and finds no cargo; https://rustup.rs has it:" >&2; \
		echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2; \
		echo "Debian 12 has it, too: apt-get install rustc-web cargo-web" >&2; \
		exit 1; \
	fi; \
	have=$$($(CARGO) --version | sed 's/^cargo \([0-9]*\.[0-9]*\).*/\1/'); \
	if [ "$${have%%.*}" -lt "$$(echo $(RUST) | cut -d. -f1)" ] || { \
		[ "$${have%%.*}" -eq "$$(echo $(RUST) | cut -d. -f1)" ] && \
		[ "$${have#*.}" -lt "$$(echo $(RUST) | cut -d. -f2)" ]; }; then \
		echo "pflow needs Rust $(RUST) or later, this is $$have; with rustup:" >&2; \
		echo "    rustup update stable" >&2; \
		exit 1; \
	fi

lint: check

check: man-lint
	@$(RUSTENV) $(CARGO) fmt --check
	@$(RUSTENV) $(CARGO) clippy --locked --all-targets -- -D warnings
	@$(RUSTENV) RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# Manual pages of other systems, which the pages refer to, are not a fault.
man-lint:
	@command -v mandoc >/dev/null 2>&1 || { echo "mandoc is missing" >&2; exit 1; }
	@for page in $(PAGES); do \
		[ -r $$page ] || { echo "$$page is missing" >&2; exit 1; }; \
		! mandoc -Tlint -Wstyle $$page 2>/dev/null | grep -v 'referenced manual not found' || exit 1; \
	done

# The parts, what must not grow, a live capture where that can be tried, and last the whole program with a table of
# ratios: some minutes.
bench: build
	@$(RUSTENV) for bench in parts limits; do \
		$(CARGO) bench --locked --bench $$bench || exit 1; \
	done
	@if [ "$$(id -u)" = 0 ] && command -v ip >/dev/null 2>&1; then \
		python3 .ci/live "$(TARGET)/release/pflow"; \
	else echo "A live capture is tried by root on Linux only"; fi
	@$(RUSTENV) $(CARGO) bench --locked --bench replay

# Does not build, so that root needs no Rust: `make`, then `make install` as root.
install:
	@for bin in pflow pflowctl; do \
		[ -x "$(TARGET)/release/$$bin" ] || { echo "please build first: make" >&2; exit 1; }; \
	done
	$(INSTALL) -d -m 755 $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(EXAMPLES)
	$(INSTALL) -m 755 "$(TARGET)/release/pflow" $(DESTDIR)$(PREFIX)/sbin/pflow
	$(INSTALL) -m 755 "$(TARGET)/release/pflowctl" $(DESTDIR)$(PREFIX)/sbin/pflowctl
	$(INSTALL) -m 644 packaging/pflow.conf $(DESTDIR)$(EXAMPLES)/pflow.conf
	man=$(MANDIR); man=$(MAN); \
	$(INSTALL) -d -m 755 "$$man/man5" "$$man/man8" && \
	$(INSTALL) -m 644 pflow.conf.5 "$$man/man5/pflow.conf.5" && \
	$(INSTALL) -m 644 pflow.8 "$$man/man8/pflow.8" && \
	$(INSTALL) -m 644 pflowctl.8 "$$man/man8/pflowctl.8"

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/pflow $(DESTDIR)$(PREFIX)/sbin/pflowctl
	rm -f $(DESTDIR)$(EXAMPLES)/pflow.conf
	man=$(MANDIR); man=$(MAN); \
	rm -f "$$man/man5/pflow.conf.5" "$$man/man8/pflow.8" "$$man/man8/pflowctl.8"

# A Debian package: ./pflow_VERSION_ARCH.deb.
deb: setup
	@$(RUSTENV) $(CARGO) build --release --locked --features top
	@packaging/debian/build "$(TARGET)/release"

clean:
	@$(RUSTENV) $(CARGO) clean

.PHONY: all build run test demo setup lint check man-lint bench install uninstall deb clean
