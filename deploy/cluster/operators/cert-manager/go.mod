module settlement.local/cert-manager

go 1.20

require github.com/cert-manager/cert-manager v1.11.5
replace github.com/miekg/dns v1.1.41 => github.com/miekg/dns v1.1.34
