# Works with GNU make and BSD make.

PREFIX = /usr/local
# Empty: PREFIX/man on OpenBSD and NetBSD, PREFIX/share/man elsewhere.
MANDIR =
EXAMPLES = $(PREFIX)/share/examples/pflow
# Completions: where the shells look below PREFIX.
BASHDIR = $(PREFIX)/share/bash-completion/completions
ZSHDIR = $(PREFIX)/share/zsh/site-functions
FISHDIR = $(PREFIX)/share/fish/vendor_completions.d
DESTDIR =
CARGO = cargo
INSTALL = install

# The oldest Rust, as in Cargo.toml.
RUST = 1.88
# Where cargo puts the programs. CARGO_TARGET_DIR in the environment overrides it.
TARGET = $${CARGO_TARGET_DIR:-target}
PAGES = pflow.8 pflow.conf.5 pflowctl.8
CAPTURE = testdata/mix200.openbsd-v6.pcap

# Where manual pages go, as shell code.
MAN = "$(DESTDIR)$${man:-$$(case $$(uname -s) in OpenBSD|NetBSD) echo $(PREFIX)/man;; *) echo $(PREFIX)/share/man;; esac)}"

# Shell code before each cargo. rustup installs cargo where not every shell looks. On OpenBSD the
# build of the pcap crate cannot find out the version of libpcap.
RUSTENV = PATH="$${CARGO_HOME:-$$HOME/.cargo}/bin:$$PATH"; export PATH; \
	if [ "$$(uname -s)" = OpenBSD ]; then \
		LIBPCAP_VER=$${LIBPCAP_VER:-1.5.0}; export LIBPCAP_VER; \
	fi;

# Ends with advice if there is no cargo.
NEEDCARGO = command -v $(CARGO) >/dev/null 2>&1 || { \
		echo "pflow needs Rust $(RUST) or later and finds no cargo, also not in $${CARGO_HOME:-$$HOME/.cargo}/bin." >&2; \
		echo "\`make run' and \`make test' install it where the system has it; else https://rustup.rs:" >&2; \
		echo "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh" >&2; \
		exit 1; \
	};

all: build

build:
	@$(RUSTENV) $(NEEDCARGO) $(CARGO) build --release --locked

# Sets up this machine, builds, and shows the flows of a capture of 200 states.
run: setup build
	@echo "pflow -a -b 1699900000 -r $(CAPTURE)"
	@$(TARGET)/release/pflow -a -b 1699900000 -r $(CAPTURE)

test: setup
	@echo "Builds and runs the tests: about four minutes the first time on two processors, three where they are built."
	@$(RUSTENV) $(CARGO) test --locked

# Runs a simulated firewall (pfsim), pflow and a collector on this machine, with 20 000 states in 20
# minutes. Compares the traffic with the flows exported. DEMO takes options of pfsim, such as
# DEMO="-d fbsd15 -L 0.01".
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

# Installs what the build needs: libpcap and OpenSSL with their headers, a C compiler, pkg-config, Rust. The BSDs
# have OpenSSL or LibreSSL in base.
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
			: "Debian 12 has a second, newer Rust to build browsers with."; \
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
		echo "pflow needs Rust $(RUST) or later, this is $$have. With rustup, which https://rustup.rs has:" >&2; \
		echo "    rustup update stable" >&2; \
		[ ! -e /etc/debian_version ] || \
			echo "Debian 12 has it in bookworm-security: rustc-web and cargo-web" >&2; \
		exit 1; \
	fi

lint: check

check: man-lint
	@$(RUSTENV) $(CARGO) fmt --check
	@$(RUSTENV) $(CARGO) clippy --locked --all-targets -- -D warnings
	@$(RUSTENV) RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

# The pages refer to manual pages of other systems, which may be missing here.
man-lint:
	@command -v mandoc >/dev/null 2>&1 || { echo "mandoc is missing" >&2; exit 1; }
	@for page in $(PAGES); do \
		[ -r $$page ] || { echo "$$page is missing" >&2; exit 1; }; \
		! mandoc -Tlint -Wstyle $$page 2>/dev/null | grep -v 'referenced manual not found' || exit 1; \
	done

# Measures the parts, what must not grow, a live capture where the system allows one, and the whole program with a
# table of ratios. Takes some minutes.
bench: build
	@$(RUSTENV) for bench in parts limits; do \
		$(CARGO) bench --locked --bench $$bench || exit 1; \
	done
	@if [ "$$(id -u)" = 0 ] && command -v ip >/dev/null 2>&1; then \
		python3 .ci/live "$(TARGET)/release/pflow"; \
	else echo "A live capture is tried by root on Linux only"; fi
	@$(RUSTENV) $(CARGO) bench --locked --bench replay

# Does not build, so root needs no Rust: run `make`, then `make install` as root.
install:
	@for bin in pflow pflowctl; do \
		[ -x "$(TARGET)/release/$$bin" ] || { echo "please build first: make" >&2; exit 1; }; \
	done
	$(INSTALL) -d -m 755 $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(EXAMPLES)
	$(INSTALL) -m 755 "$(TARGET)/release/pflow" $(DESTDIR)$(PREFIX)/sbin/pflow
	$(INSTALL) -m 755 "$(TARGET)/release/pflowctl" $(DESTDIR)$(PREFIX)/sbin/pflowctl
	$(INSTALL) -m 644 packaging/pflow.conf $(DESTDIR)$(EXAMPLES)/pflow.conf
	$(INSTALL) -m 644 packaging/grafana/pflow.json $(DESTDIR)$(EXAMPLES)/grafana.json
	man=$(MANDIR); man=$(MAN); \
	$(INSTALL) -d -m 755 "$$man/man5" "$$man/man8" && \
	$(INSTALL) -m 644 pflow.conf.5 "$$man/man5/pflow.conf.5" && \
	$(INSTALL) -m 644 pflow.8 "$$man/man8/pflow.8" && \
	$(INSTALL) -m 644 pflowctl.8 "$$man/man8/pflowctl.8"
	@bash=$(DESTDIR)$(BASHDIR) zsh=$(DESTDIR)$(ZSHDIR) fish=$(DESTDIR)$(FISHDIR); \
	if ! "$(TARGET)/release/pflowctl" -C bash >/dev/null 2>&1; then \
		echo "no completions: pflowctl was built for another machine than this" >&2; \
		exit 0; \
	fi; \
	$(INSTALL) -d -m 755 "$$bash" "$$zsh" "$$fish" && \
	"$(TARGET)/release/pflowctl" -C bash >"$$bash/pflowctl" && ln -sf pflowctl "$$bash/pflow" && \
	"$(TARGET)/release/pflowctl" -C zsh >"$$zsh/_pflowctl" && \
	"$(TARGET)/release/pflowctl" -C fish >"$$fish/pflowctl.fish" && ln -sf pflowctl.fish "$$fish/pflow.fish" && \
	chmod 644 "$$bash/pflowctl" "$$zsh/_pflowctl" "$$fish/pflowctl.fish" && \
	echo "completions for bash, zsh and fish: $$bash, $$zsh, $$fish"
	@[ -n "$(DESTDIR)" ] || id -u _pflow >/dev/null 2>&1 || { \
		$(USERADD) \
		if [ "$$(id -u)" = 0 ] && sh -c "$$add"; then echo "made the user _pflow, as whom pflow runs"; \
		else echo "pflow runs as the user _pflow, which is missing; as root: $$add" >&2; fi; \
	}

# Shell code that sets $$add to the command that makes a user without rights: pw of FreeBSD, useradd of OpenBSD,
# NetBSD or Linux, or else adduser of busybox.
USERADD = case "$$(uname -s)" in \
		FreeBSD) add="pw useradd _pflow -c 'pflow daemon' -d /var/empty -s /usr/sbin/nologin";; \
		OpenBSD|NetBSD) add="useradd -g =uid -c 'pflow daemon' -d /var/empty -s /sbin/nologin _pflow";; \
		*) if command -v useradd >/dev/null 2>&1 || ! command -v adduser >/dev/null 2>&1; then \
			add="useradd --system --user-group --no-create-home --comment 'pflow daemon' --home-dir /var/empty --shell /usr/sbin/nologin _pflow"; \
		else \
			add="addgroup -S _pflow; adduser -S -D -H -G _pflow -g 'pflow daemon' -h /var/empty -s /sbin/nologin _pflow"; \
		fi;; \
	esac;

# The user stays, because files may belong to it. Under DESTDIR, empty directories are removed, too.
uninstall:
	rm -f $(DESTDIR)$(PREFIX)/sbin/pflow $(DESTDIR)$(PREFIX)/sbin/pflowctl
	rm -f $(DESTDIR)$(EXAMPLES)/pflow.conf $(DESTDIR)$(EXAMPLES)/grafana.json
	rm -f $(DESTDIR)$(BASHDIR)/pflowctl $(DESTDIR)$(BASHDIR)/pflow $(DESTDIR)$(ZSHDIR)/_pflowctl
	rm -f $(DESTDIR)$(FISHDIR)/pflowctl.fish $(DESTDIR)$(FISHDIR)/pflow.fish
	@[ -n "$(DESTDIR)" ] || [ ! -d $(EXAMPLES) ] || rmdir $(EXAMPLES) 2>/dev/null || :
	man=$(MANDIR); man=$(MAN); \
	rm -f "$$man/man5/pflow.conf.5" "$$man/man8/pflow.8" "$$man/man8/pflowctl.8"; \
	if [ -n "$(DESTDIR)" ] && cd "$(DESTDIR)"; then \
		for dir in "$$man/man5" "$$man/man8"; do rmdir -p ".$${dir#$(DESTDIR)}" 2>/dev/null; done; \
		for dir in $(PREFIX)/sbin $(EXAMPLES) $(BASHDIR) $(ZSHDIR) $(FISHDIR); do rmdir -p ".$$dir" 2>/dev/null; done; \
	fi; :
	@[ -n "$(DESTDIR)" ] || ! id -u _pflow >/dev/null 2>&1 || echo "the user _pflow stays, because files may belong to it"

# A Debian package with the screen of `pflowctl top`: ./pflow_VERSION_ARCH.deb. The tools are checked before the
# build, because the build takes minutes.
deb: deb-tools setup
	@$(RUSTENV) $(CARGO) build --release --locked --features top
	@packaging/debian/build "$(TARGET)/release"

deb-tools:
	@for pair in dpkg-deb:dpkg dpkg-shlibdeps:dpkg-dev strip:binutils; do \
		command -v "$${pair%%:*}" >/dev/null 2>&1 || { \
			echo "a Debian package needs $${pair%%:*}, please: apt-get install $${pair##*:}" >&2; \
			exit 1; \
		}; \
	done

clean:
	@$(RUSTENV) $(CARGO) clean

.PHONY: all build run test demo setup lint check man-lint bench install uninstall deb deb-tools clean
