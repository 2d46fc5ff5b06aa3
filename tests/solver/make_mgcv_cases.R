# Fits of mgcv to the recordings of mgcv_cases.py; make_mgcv_cases.py calls it with the folder of the data.
# Every penalty is given as a matrix (paraPen), so that both sides have one model. sp multiplies beta' S beta beside the
# deviance: sp = s * (sum of weights) for a strength s of popglm, in every family.
suppressMessages(library(mgcv))
folder <- commandArgs(TRUE)[1]
read <- function(name) unname(as.matrix(read.csv(file.path(folder, name), header = FALSE)))
meta <- readLines(file.path(folder, "meta"))
X <- read("X.csv"); Y <- read("y.csv"); side <- read("side.csv")
S <- lapply(seq_len(as.integer(meta[2])), function(j) read(paste0("S", j, ".csv")))
family <- switch(meta[1], Poisson = poisson(), Bernoulli = binomial(), Gaussian = gaussian(), Gamma = Gamma("log"),
                 NegativeBinomial = negbin(1 / as.numeric(meta[3])))
control <- gam.control(epsilon = 1e-11, efs.tol = 1e-9, newton = list(conv.tol = 1e-9, maxNstep = 5, maxSstep = 2, maxHalf = 30, use.svd = FALSE))
words <- function(v) paste(format(v, digits = 17, trim = TRUE), collapse = " ")

write_fit <- function(y, method, optimizer, sp = NULL, out, scale = 0) {
  data <- list(y = y, X = X, off = side[, 1], w = side[, 2])
  pen <- list(X = c(S, if (!is.null(sp)) list(sp = sp)))
  fit <- gam(y ~ X + offset(off), family = family, weights = w, data = data, paraPen = pen, method = "REML",
             optimizer = optimizer, control = control)
  cat(method, "sp", words(fit$sp), "\n", file = out)
  cat(method, "edf", words(fit$edf), "\n", file = out)
  cat(method, "reml", words(fit$gcv.ubre), "\n", file = out)
  cat(method, "scale", words(c(fit$reml.scale, fit$sig2)), "\n", file = out)
  cat(method, "coef", words(fit$coefficients), "\n", file = out)
  cat(method, "variance", words(diag(fit$Vp)), "\n", file = out)
}

out <- file(file.path(folder, "found"), "w")
cat("version", R.version.string, "mgcv", as.character(packageVersion("mgcv")), "\n", file = out)
for (neuron in seq_len(ncol(Y))) {
  cat("neuron", neuron, "\n", file = out)
  write_fit(Y[, neuron], "newton", c("outer", "newton"), out = out)
  try(write_fit(Y[, neuron], "efs", "efs", out = out))
  write_fit(Y[, neuron], "fixed", c("outer", "newton"), sp = 2 + seq_along(S), out = out)
}
close(out)
