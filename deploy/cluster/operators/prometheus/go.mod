module settlement.local/prometheus

go 1.24.0

require github.com/prometheus/prometheus v0.305.0
replace github.com/fsnotify/fsnotify v1.8.0 => github.com/fsnotify/fsnotify v1.7.0
