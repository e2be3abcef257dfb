# Debian 12 with Node and npm: builds, never ships. See make.sh.
FROM scratch
ADD builder.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["/bin/sh"]
