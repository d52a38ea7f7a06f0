//! What is made of the findings: a folder, a document for GitLab, a line for a monitoring system.
