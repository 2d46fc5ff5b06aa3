# Smooths of one unit after the other by mgcv, one thread: Rscript smooth.R FOLDER bam|gam UNIT ...
# Reads x.csv (bins, covariates in [0, 1]) and y.csv (bins, units); writes FOLDER/found with CPU seconds (user and system),
# edf of each smooth, curves on 101 points, centred by the data, and their standard errors.
# `bam`: s(x, bs = "ps") with the knots of popglm's B-splines. `gam`: popglm's features and penalties, given as matrices.
suppressMessages(library(mgcv))
args <- commandArgs(TRUE)
folder <- args[1]; task <- args[2]; units <- as.integer(args[-(1:2)])
read <- function(name) { m <- unname(as.matrix(read.csv(file.path(folder, name), header = FALSE))); m }
words <- function(v) paste(format(v, digits = 12, trim = TRUE), collapse = " ")
x <- read("x.csv"); y <- read("y.csv"); size <- 10; n <- ncol(x)
knots <- c(0, 0, 0, seq(0, 1, length = size - 2), 1, 1, 1)
grid <- seq(0, 1, length = 101)
shape <- function(x) splines::splineDesign(knots, x, outer.ok = TRUE)
D <- diff(diag(size), differences = 2)
S <- crossprod(D)
null <- eigen(S)$vectors[, size - 1:0]

fit_bam <- function(y) {
  data <- setNames(as.data.frame(x), paste0("x", 1:n)); data$y <- y
  terms <- paste0("s(x", 1:n, ", bs = 'ps', k = ", size, ", m = c(2, 2))", collapse = " + ")
  all <- setNames(rep(list(knots), n), paste0("x", 1:n))
  bam(as.formula(paste("y ~", terms)), family = poisson(), data = data, knots = all, select = TRUE, discrete = TRUE,
      nthreads = 1, method = "fREML")
}
edf_bam <- function(fit) sapply(fit$smooth, function(s) sum(fit$edf[s$first.para:s$last.para]))
curves_bam <- function(fit) {
  p <- predict(fit, setNames(as.data.frame(matrix(grid, 101, n)), paste0("x", 1:n)), type = "terms", se.fit = TRUE)
  list(p$fit, p$se.fit)
}
fit_gam <- function(y) {
  X <- lapply(1:n, function(j) shape(x[, j]))
  names(X) <- paste0("X", 1:n)
  pen <- setNames(rep(list(list(S, null %*% t(null))), n), names(X))
  gam(as.formula(paste("y ~", paste(names(X), collapse = " + "))), family = poisson(), data = c(X, list(y = y)),
      paraPen = pen, method = "REML")
}
edf_gam <- function(fit) colSums(matrix(fit$edf[-1], size))
curves_gam <- function(fit) {
  out <- lapply(1:n, function(j) {
    some <- 1 + (j - 1) * size + 1:size
    C <- sweep(shape(grid), 2, colMeans(shape(x[, j])))
    list(C %*% fit$coefficients[some], sqrt(rowSums((C %*% fit$Vp[some, some]) * C)))
  })
  list(sapply(out, `[[`, 1), sapply(out, `[[`, 2))
}

out <- file(file.path(folder, "found"), "w")
cat("versions", R.version.string, "mgcv", as.character(packageVersion("mgcv")), extSoftVersion()["BLAS"], "\n", file = out)
for (unit in units) {
  gc()
  spent <- system.time(fit <- get(paste0("fit_", task))(y[, unit]))
  curves <- get(paste0("curves_", task))(fit)
  cat("unit", unit, "\n", file = out)
  cat("cpu_s", words(sum(spent[1:2])), "\n", file = out)
  cat("wall_s", words(spent[3]), "\n", file = out)
  cat("edf", words(get(paste0("edf_", task))(fit)), "\n", file = out)
  cat("curves", words(as.vector(curves[[1]])), "\n", file = out)
  cat("errors", words(as.vector(curves[[2]])), "\n", file = out)
  flush(out)
}
close(out)
